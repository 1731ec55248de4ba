"""Measure the viseme network and the motion it drives, on recorded speech; prints JSON.

    python -m scripts.evaluate_viseme --data DATA --cache /tmp/viseme/aligned.json
    python -m scripts.evaluate_viseme --data DATA --plot /tmp/motion.png

Labels come from pocketsphinx forced alignment of known words, independent of the network but not perfect
(word edges about 20 ms from another aligner). None of these clips or voices is trained on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avatar.audio.features import log_mel
from avatar.audio.phones import PHONE_TO_VISEME, VISEMES, TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import BILABIAL_THRESHOLD, VisemeNet, load_weights
from scripts import real_speech
from scripts.make_speech_corpus import labels

I = space.INDEX  # noqa: E741
CLOSED = 0.015
"""Opening (jawOpen - mouthClose) below which the lips are together."""
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
OPEN_VOWELS = {"AA", "AE", "AO", "AH", "EH", "AY", "AW"}


@dataclass(frozen=True)
class Clip:
    """A recording with aligned phones."""

    source: str
    name: str
    pcm_S: NDArray[np.int16]
    phones: list[TimedPhone]


def aligned_clips(data: Path, cache: Path | None, grid_clips: int) -> list[Clip]:
    """LJSpeech's eight clips with transcripts, JFK, and some of GRID."""
    speech = data / "speech"
    wanted = [("ljspeech", *item) for item in real_speech.clips("lj", speech / "ljspeech")]
    wanted.append(("jfk", speech / "clips" / "jfk.flac", JFK))
    wanted += [("grid", *item) for item in real_speech.clips("grid", data / "talking_video")[:grid_clips]]
    known: dict[str, list[dict[str, Any]]] = json.loads(cache.read_text()) if cache and cache.exists() else {}
    aligner = real_speech.decoder()
    out = []
    for source, path, text in wanted:
        pcm_S = real_speech.read(path)
        key = f"{source}:{path.stem}"
        if key not in known:
            found = real_speech.align(aligner, pcm_S, text or "")
            known[key] = [asdict(p) for p in found or []]
        if known[key]:
            out.append(Clip(source, path.stem, pcm_S, [TimedPhone(**p) for p in known[key]]))
    if cache:
        cache.write_text(json.dumps(known))
    return out


# ---------------------------------------------------------------- the network


def posteriors(net: VisemeNet, pcm_S: NDArray[np.int16]) -> NDArray[np.float32]:
    """Streamed posteriors of one clip from a fresh start, [bins, 15]."""
    net.reset()
    parts = [net.push(pcm_S[i : i + FRAME_SAMPLES]) for i in range(0, len(pcm_S), FRAME_SAMPLES)]
    return np.concatenate([*parts, net.flush()])


def network_scores(net: VisemeNet, clips: list[Clip]) -> dict[str, float]:
    """Frame accuracy at 100 Hz, plain and with +-20 ms, and precision and recall of what is seen best."""
    guess, truth, near, closed = [], [], [], []
    for clip in clips:
        posterior_TV = posteriors(net, clip.pcm_S)
        label_T = labels(clip.phones, len(posterior_TV))
        guess_T = posterior_TV.argmax(1)
        padded_T = np.pad(label_T.astype(int), 2, mode="edge")
        around_T5 = np.stack([padded_T[i : i + len(label_T)] for i in range(5)], axis=1)
        guess.append(guess_T)
        truth.append(label_T)
        near.append((around_T5 == guess_T[:, None]).any(1))
        closed.append(posterior_TV[:, VISEMES.index("PP")] >= BILABIAL_THRESHOLD)
    guess_T, label_T, closed_T = np.concatenate(guess), np.concatenate(truth), np.concatenate(closed)
    scores = {
        "minutes": round(len(label_T) / 6000, 2),
        "accuracy": round(float((guess_T == label_T).mean()), 3),
        "accuracy_20ms": round(float(np.concatenate(near).mean()), 3),
    }
    for name, shown_T, viseme in (
        ("bilabial", guess_T == 1, "PP"),
        ("bilabial_at_threshold", closed_T, "PP"),
        ("labiodental", guess_T == 2, "FF"),
    ):
        is_T = label_T == VISEMES.index(viseme)
        scores[f"{name}_recall"] = round(float(shown_T[is_T].mean()), 3)
        scores[f"{name}_precision"] = round(float(is_T[shown_T].mean()), 3)
    return scores


# ---------------------------------------------------------------- the motion


def motion(pcm_S: NDArray[np.int16], phones: list[TimedPhone] | None, net: VisemeNet | None) -> NDArray[np.float32]:
    """Motion [T, 52] of one clip."""
    stream = MotionStream(0, net)
    stream.push_audio(pcm_S, phones)
    stream.end_segment()
    return np.stack([stream.next_motion() for _ in range(stream.ready_frames())])


def opening(motion_TD: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the lips are apart, [T]."""
    gap_T: NDArray[np.float32] = motion_TD[:, I["jawOpen"]] - motion_TD[:, I["mouthClose"]]
    return gap_T


def parted(motion_TD: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the lips are apart as a camera sees it: the jaw's part and the lips' own, [T]."""
    lips_T: NDArray[np.float32] = motion_TD[:, I["mouthLowerDownLeft"]] + motion_TD[:, I["mouthUpperUpLeft"]]
    return opening(motion_TD) + np.float32(0.25) * lips_T


def lag_frames(moved_T: NDArray[np.float32], truth_T: NDArray[np.float32]) -> tuple[float, float]:
    """(frames by which `moved` is late, correlation there): peak of the cross-correlation, parabola-refined."""
    a, b = moved_T - moved_T.mean(), truth_T - truth_T.mean()
    norm = np.sqrt((a @ a) * (b @ b)) + 1e-9
    shifts = range(-6, 7)
    r = np.array([(a[max(0, s) : len(a) + min(0, s)] @ b[max(0, -s) : len(b) + min(0, -s)]) / norm for s in shifts])
    best = int(np.clip(r.argmax(), 1, len(r) - 2))
    left, mid, right = r[best - 1], r[best], r[best + 1]
    return float(shifts[best] + 0.5 * (left - right) / (left - 2 * mid + right)), float(mid)


def motion_scores(net: VisemeNet, clips: list[Clip], *, by_net: bool) -> dict[str, float]:
    """Sync with the phone-driven mouth, closures that are seen, and stillness in silence."""
    moved, truth = [], []
    hit, wrongly_closed, still = [], [], []
    for clip in clips:
        ours_TD = motion(clip.pcm_S, None if by_net else clip.phones, net if by_net else None)
        gap_T = opening(ours_TD)
        moved.append(gap_T)
        truth.append(opening(motion(clip.pcm_S, clip.phones, None)))
        for item in clip.phones:
            first, last = item.start_s * FPS - 0.5, item.end_s * FPS - 0.5
            if item.phone in {"P", "B", "M"} and item.end_s - item.start_s >= 0.03:
                hit.append(float(gap_T[max(0, int(first)) : int(np.ceil(last)) + 1].min(initial=1.0) < CLOSED))
            elif item.phone in OPEN_VOWELS and item.end_s - item.start_s >= 0.08:
                middle = round((first + last) / 2)
                wrongly_closed += (gap_T[middle : middle + 1] < CLOSED).astype(float).tolist()
            elif item.phone == "sil" and item.end_s - item.start_s > 0.4:
                inside_T = gap_T[int(np.ceil(first + 4)) : int(last - 4)]
                still += np.abs(inside_T).tolist()
    late, r = lag_frames(np.concatenate(moved), np.concatenate(truth))
    return {
        "lag_frames": round(late, 2),
        "correlation_with_phone_driven": round(r, 3),
        "bilabials": len(hit),
        "bilabial_closures_seen": round(float(np.mean(hit)), 3),
        "open_vowels_closed": round(float(np.mean(wrongly_closed)), 3),
        "mean_opening_in_silence": round(float(np.mean(still)), 4) if still else 0.0,
    }


def captured_jaw(net: VisemeNet, folder: Path) -> dict[str, float]:
    """Against captured jaw motion (FACEGOOD, Mandarin): correlation and lag of our mouth opening."""
    ours, theirs = [], []
    for path in sorted(folder.glob("*.npz")):
        track = np.load(path)
        column = [str(n) for n in track["names"]].index("mouth_stretch_c")
        jaw_T = track["weights"][:, column].astype(np.float32)
        gap_T = opening(motion(real_speech.read(path.with_suffix(".flac")), None, net))
        at = np.arange(len(gap_T)) / FPS * 30.0
        ours.append(gap_T)
        theirs.append(np.interp(at, np.arange(len(jaw_T)), jaw_T).astype(np.float32))
    late, r = lag_frames(np.concatenate(ours), np.concatenate(theirs))
    return {"correlation": round(r, 3), "lag_frames": round(late, 2)}


def filmed_lips(clip: Clip, video: Path) -> NDArray[np.float32]:
    """Distance of the inner lips over the height of the face in each frame of a clip's film, [T]."""
    from avatar.portrait.detect import detect
    from avatar.portrait.landmarks import detection_roi, mesh_points
    from avatar.portrait.models import load_models

    models = load_models()
    distances: list[float] = []
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            rgb_HW3 = frame.to_ndarray(format="rgb24")
            found = detect(models.detector, rgb_HW3)
            if not found:
                distances.append(distances[-1] if distances else 0.0)
                continue
            points_N3, _ = mesh_points(models.landmarks, rgb_HW3, detection_roi(found[0]))
            apart = np.linalg.norm(points_N3[13] - points_N3[14])
            distances.append(float(apart / np.linalg.norm(points_N3[10] - points_N3[152])))
    return np.array(distances, dtype=np.float32)


def filmed(net: VisemeNet, clips: list[Clip], folder: Path) -> dict[str, float]:
    """Against a real speaker's filmed lips (GRID): correlation and lag of our mouth opening."""
    real: list[NDArray[np.float32]] = []
    ours: dict[str, list[NDArray[np.float32]]] = {"network": [], "phones": []}
    for clip in clips:
        apart_T = filmed_lips(clip, folder / f"{clip.name}.mp4")
        for name, gaps in ours.items():
            gap_T = parted(motion(clip.pcm_S, None if name == "network" else clip.phones, net))
            gaps.append(gap_T[: len(apart_T)] - gap_T.mean())
        real.append(apart_T[: len(gap_T)] - apart_T.mean())
    out = {}
    for name, gaps in ours.items():
        late, r = lag_frames(np.concatenate(gaps), np.concatenate(real))
        out[f"{name}_correlation"], out[f"{name}_lag_frames"] = round(r, 3), round(late, 2)
    return out


def timing(net: VisemeNet, pcm_S: NDArray[np.int16], phones: list[TimedPhone]) -> dict[str, float]:
    """CPU seconds per second of speech, and from the first chunk to the first frame."""
    out = {}
    for name, given in (("phones", phones), ("network", None)):
        stream = MotionStream(0, net)
        started = time.process_time()
        for i in range(0, len(pcm_S), FRAME_SAMPLES):
            stream.push_audio(pcm_S[i : i + FRAME_SAMPLES], given if i == 0 or given is None else [])
            if stream.ready_frames():
                stream.next_motion()
        out[f"rtf_{name}"] = round((time.process_time() - started) / (len(pcm_S) / STREAM_RATE), 4)
        first = MotionStream(0, net)
        started = time.perf_counter()
        first.push_audio(pcm_S[:STREAM_RATE], given)
        first.next_motion()
        out[f"first_frame_ms_{name}"] = round(1000 * (time.perf_counter() - started), 2)
    started = time.process_time()
    posteriors(net, pcm_S)
    out["rtf_viseme_net"] = round((time.process_time() - started) / (len(pcm_S) / STREAM_RATE), 4)
    return out


def plot(net: VisemeNet, clip: Clip, path: Path) -> None:
    """Spectrogram, phones, and mouth curves of both roads, to look at."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    log_TM = log_mel(clip.pcm_S)
    curves = {"phones": motion(clip.pcm_S, clip.phones, None), "network": motion(clip.pcm_S, None, net)}
    figure, axes = plt.subplots(5, 1, figsize=(22, 14), sharex=True)
    axes[0].imshow(log_TM.T, origin="lower", aspect="auto", extent=(0, len(log_TM) / 100, 0, 64), cmap="magma")
    for item in clip.phones:
        axes[0].text((item.start_s + item.end_s) / 2, 58, item.phone, color="w", ha="center", fontsize=8)
        for axis in axes:
            axis.axvline(item.start_s, color="0.8", linewidth=0.4)
            if PHONE_TO_VISEME[item.phone] == "PP":
                axis.axvspan(item.start_s, item.end_s, color="tab:blue", alpha=0.2)
    for name, motion_TD in curves.items():
        at_T = (np.arange(len(motion_TD)) + 0.5) / FPS
        axes[1].plot(at_T, opening(motion_TD), ".-", label=f"opening, {name}")
        axes[2].plot(at_T, motion_TD[:, I["mouthPucker"]], label=f"pucker, {name}")
        axes[2].plot(at_T, motion_TD[:, I["mouthStretchLeft"]], "--", label=f"stretch, {name}")
        axes[3].plot(at_T, motion_TD[:, I["mouthRollLower"]], label=f"roll lower, {name}")
        axes[3].plot(at_T, motion_TD[:, I["tongueHeight"]], ":", label=f"tongue, {name}")
    for channel in ("headPitch", "headYaw", "headRoll"):
        axes[4].plot(at_T, np.degrees(motion_TD[:, I[channel]]), label=channel)
    axes[4].plot(at_T, 5 * motion_TD[:, I["browInnerUp"]], label="browInnerUp x5")
    axes[4].plot(at_T, motion_TD[:, I["eyeBlinkLeft"]], label="blink")
    for axis in axes[1:]:
        axis.legend(loc="upper right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the shared data folder")
    parser.add_argument("--weights", type=Path, help="another safetensors file than the shipped one")
    parser.add_argument("--cache", type=Path, help="keep alignments in this JSON file")
    parser.add_argument("--grid-clips", type=int, default=60)
    parser.add_argument("--plot", type=Path, help="draw one clip's motion to this PNG and stop")
    arguments = parser.parse_args()
    net = VisemeNet(load_weights(arguments.weights) if arguments.weights else None)
    clips = aligned_clips(arguments.data, arguments.cache, arguments.grid_clips)
    if arguments.plot:
        plot(net, next(c for c in clips if c.source == "jfk"), arguments.plot)
        return
    groups = {name: [c for c in clips if c.source == name] for name in ("ljspeech", "jfk", "grid")}
    report: dict[str, Any] = {
        "network": {name: network_scores(net, group) for name, group in {**groups, "all": clips}.items()},
        "motion_from_network": {
            name: motion_scores(net, group, by_net=True) for name, group in {**groups, "all": clips}.items()
        },
        "motion_from_phones": motion_scores(net, clips, by_net=False),
        "captured_jaw": captured_jaw(net, arguments.data / "motion" / "facegood"),
        "filmed_lips": filmed(net, groups["grid"][:12], arguments.data / "talking_video" / "grid_s1"),
        "timing": timing(net, *_long_speech(clips)),
    }
    print(json.dumps(report, indent=1))


def _long_speech(clips: list[Clip]) -> tuple[NDArray[np.int16], list[TimedPhone]]:
    """About 40 s of speech in one piece."""
    phones: list[TimedPhone] = []
    parts: list[NDArray[np.int16]] = []
    at = 0
    for clip in clips[:8]:
        phones += [p.shifted(at / STREAM_RATE) for p in clip.phones]
        parts.append(clip.pcm_S)
        at += len(clip.pcm_S)
    return np.concatenate(parts), phones


if __name__ == "__main__":
    main()
