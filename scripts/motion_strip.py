"""Look at motion: a strip of the default presenter's frames over the curves of what moves, with the sound above.

    python -m scripts.motion_strip CLIP.npz --systems real small-1-audio --weights small=FILE --out strip.png
    python -m scripts.motion_strip --say "My baby boy bought a big map." --systems articulation-phones --out strip.png
    python -m scripts.motion_strip --audio speech.wav --systems articulation-audio --part mouth --out strip.png

Systems are named as in `python -m scripts.evaluate motion`; `real` is the clip's own motion. --curves leaves pictures
out, --seconds and --start choose the stretch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from avatar.audio.features import HOP, log_mel
from avatar.audio.load import load_audio
from avatar.clock import FPS, STREAM_RATE
from avatar.errors import AvatarError
from avatar.identity import load_identity
from avatar.motion import space
from avatar.render.decoder import Decoder
from scripts.contact_sheet import crop_box
from scripts.evaluate.clips import speech_clip
from scripts.evaluate.metrics.closures import BILABIAL, CLOSED_MM
from scripts.evaluate.metrics.life import brow, head_turns
from scripts.evaluate.play import Player, Shown
from scripts.evaluate.probes import Condition, flite_voice, probe_of
from scripts.evaluate.score import loudness_db, sound_of, spoken_phones
from scripts.evaluate.systems import named
from scripts.motion_clips import MotionClip, load_clip

U8 = NDArray[np.uint8]
_I: Final = space.INDEX
_WIDTH_IN: Final = 24.0
_SHAPE: Final = {"face": 1.0, "mouth": 0.75}
"""Height of a picture over its width."""
_STYLES: Final = ("-", "--", ":", "-.")


def draw(
    shown: Mapping[str, Shown], path: Path, *, start_s: float, seconds: float, every: int, part: str, pictures: bool
) -> None:
    """Write the PNG. shown: system -> what it showed of one clip. every: frames from picture to picture."""
    clip = next(iter(shown.values())).clip
    end_s = min(start_s + seconds, len(clip.motion_TD) / FPS)
    rows = len(shown) if pictures else 0
    cells = max(1.0, (end_s - start_s) * FPS / every)
    heights = [_WIDTH_IN / cells * _SHAPE[part]] * rows + [2.0, 1.2, 1.8, 1.3, 1.3, 1.3]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(_WIDTH_IN + 1.0, 1.1 * sum(heights) + 1.0),
        sharex=True,
        gridspec_kw={"height_ratios": heights},
    )
    if pictures:
        decoder = Decoder(load_identity(), size=256)
        for axis, (name, one) in zip(axes, shown.items(), strict=False):
            film(axis, name, one, decoder, start_s, end_s, every, part)
    sound(axes[rows], axes[rows + 1], clip)
    opening(axes[rows + 2], shown, clip)
    curves(axes[rows + 3 :], shown)
    for axis in axes:
        axis.set_xlim(start_s, end_s)
        axis.margins(x=0)
    axes[-1].set_xlabel(f"s   ({clip.source} {clip.name})")
    figure.tight_layout(h_pad=0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=85)
    plt.close(figure)


def film(
    axis: Axes, name: str, one: Shown, decoder: Decoder, start_s: float, end_s: float, every: int, part: str
) -> None:
    """A row of pictures, each as wide as the time it stands for."""
    scale = decoder.size / decoder.rig.size
    rest_V2 = decoder.rig.rest_V3[:, :2] * scale
    shape = (decoder.size, decoder.size)
    if part == "mouth":
        x, y, w, h = crop_box(decoder.rig, rest_V2, decoder.rig.face_width * scale, "mouth", shape)
    else:
        oval_N2 = rest_V2[decoder.rig.oval_ring]
        side = int(1.25 * float(np.ptp(oval_N2[:, 1])))
        x, y = (int(c) for c in np.clip(oval_N2.mean(0) - side / 2, 0, decoder.size - side))
        w = h = side
    frames = range(round(start_s * FPS), round(end_s * FPS), every)
    cells: list[U8] = []
    for frame in frames:
        picture = decoder.render(one.motion_TD[min(frame, len(one.motion_TD) - 1)])[y : y + h, x : x + w]
        cells.append(np.asarray(cv2.resize(picture, (160, 160 * h // w), interpolation=cv2.INTER_AREA), np.uint8))
    axis.imshow(np.hstack(cells), extent=(frames[0] / FPS, (frames[-1] + every) / FPS, 0, 1), aspect="auto")
    axis.set_yticks([])
    axis.set_ylabel(name, fontsize=9)


def sound(mel: Axes, level: Axes, clip: MotionClip) -> None:
    """Spectrogram with phones, and loudness."""
    log_TM = log_mel(sound_of(clip))
    mel.imshow(
        log_TM.T, origin="lower", aspect="auto", extent=(0, len(log_TM) * HOP / STREAM_RATE, 0, 64), cmap="magma"
    )
    mel.set_yticks([])
    mel.set_ylabel("log-mel")
    for item in spoken_phones(clip):
        middle_s = (item.start_s + item.end_s) / 2
        mel.text(middle_s, 56, item.phone, color="w", ha="center", fontsize=8, clip_on=True)
        mel.axvline(item.start_s, color="w", linewidth=0.3, alpha=0.5)
    db_T = loudness_db(clip)
    level.fill_between((np.arange(len(db_T)) + 0.5) / FPS, db_T, db_T.min(), color="0.6")
    level.set_ylabel("dB")


def opening(axis: Axes, shown: Mapping[str, Shown], clip: MotionClip) -> None:
    """Distance of the lips, bilabials shaded, closed frames marked."""
    for item in spoken_phones(clip):
        if item.phone in BILABIAL:
            axis.axvspan(item.start_s, item.end_s, color="tab:blue", alpha=0.2, linewidth=0)
    for style, (name, one) in zip(_styles(len(shown)), shown.items(), strict=True):
        at_T, gap_T = _times(one), one.lips.gap_T
        (line,) = axis.plot(at_T, gap_T, style, label=name)
        closed_T = gap_T < CLOSED_MM
        axis.plot(at_T[closed_T], gap_T[closed_T], "o", markersize=3, color=line.get_color())
    axis.axhline(CLOSED_MM, color="0.7", linewidth=0.8, linestyle=":")
    axis.set_ylabel("opening, mm")
    axis.legend(loc="upper right", fontsize=8, ncols=4)


def curves(axes: Sequence[Axes], shown: Mapping[str, Shown]) -> None:
    """Lips and face; head; eyes: one line style a system."""
    panels: tuple[dict[str, Any], ...] = (
        {
            "pucker": lambda m: m[:, _I["mouthPucker"]],
            "stretch": lambda m: m[:, _I["mouthStretchLeft"]],
            "smile": lambda m: m[:, _I["mouthSmileLeft"]],
            "brows": brow,
        },
        {axis: lambda m, i=i: head_turns(m)[:, i] for i, axis in enumerate(("yaw, deg", "pitch", "roll"))},
        {
            "blink": lambda m: m[:, _I["eyeBlinkLeft"]],
            "azimuth, 10 deg": lambda m: np.degrees(m[:, _I["gazeAzimuth"]]) / 10.0,
            "elevation, 10 deg": lambda m: np.degrees(m[:, _I["gazeElevation"]]) / 10.0,
        },
    )
    for axis, panel in zip(axes, panels, strict=True):
        for style, one in zip(_styles(len(shown)), shown.values(), strict=True):
            for number, (label, of) in enumerate(panel.items()):
                first = one is next(iter(shown.values()))
                axis.plot(_times(one), of(one.motion_TD), style, color=f"C{number}", label=label if first else None)
        axis.legend(loc="upper right", fontsize=8, ncols=4)
        axis.grid(alpha=0.3)


def _styles(count: int) -> list[str]:
    return [_STYLES[i % len(_STYLES)] for i in range(count)]


def _times(one: Shown) -> NDArray[Any]:
    return np.asarray((np.arange(len(one.motion_TD)) + 0.5) / FPS)


def clip_of(options: argparse.Namespace) -> MotionClip:
    """The clip that is asked for; ValueError when none or several are."""
    if (options.clip is not None) + (options.say is not None) + (options.audio is not None) != 1:
        raise ValueError("give one of: a clip, --say TEXT, --audio FILE.")
    if options.clip is not None:
        return load_clip(options.clip)
    if options.say is not None:
        return probe_of(Condition("said", "en", flite_voice(options.voice)), [options.say])[0]
    pcm_S = np.concatenate(list(load_audio(options.audio)))
    return speech_clip("audio", options.audio.stem, pcm_S, None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path, help="a motion clip (.npz)")
    parser.add_argument("--say", help="this text, spoken by flite with its phone times")
    parser.add_argument("--voice", default="slt", help="flite's voice for --say")
    parser.add_argument("--audio", type=Path, help="a sound file, without phone times")
    parser.add_argument("--systems", nargs="+", default=["articulation-phones", "articulation-audio"])
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--start", type=float, default=0.0, help="seconds into the clip")
    parser.add_argument("--seconds", type=float, default=2.4)
    parser.add_argument("--every", type=int, default=3, help="frames from picture to picture")
    parser.add_argument("--part", choices=sorted(_SHAPE), default="face")
    parser.add_argument("--curves", action="store_true", help="no pictures")
    options = parser.parse_args(arguments)
    try:
        clip = clip_of(options)
        player = Player()
        shown = {name: player.show(named(name, options.weights), [clip])[0] for name in options.systems}
        draw(
            shown, options.out, start_s=options.start, seconds=options.seconds, every=options.every,
            part=options.part, pictures=not options.curves,
        )  # fmt: skip
    except (AvatarError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
