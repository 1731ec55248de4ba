"""Make the clips that teach the motion network what no recording says: phones, states, feelings, being listened to.

    python -m scripts.make_motion_corpus --out /tmp/motion/clips --hours 2.5 --data DATA/speech
    python -m scripts.make_motion_corpus --out /tmp/motion/clips --pseudo lj libri --data DATA/speech

`teacher`: scenes of a conversation (idle, listening, thinking, speaking, interrupted), spoken by several engines and
voices with exact phone times, animated by teacher_face.py in a random person's style. `pseudo-lj`, `pseudo-libri`: the
same scenes around recorded speech, whose lips follow forced alignment (lj, where there is a transcript) or
else the viseme network.
Every 10th clip or recording is held out. Clips that exist are kept, so a run that was stopped goes on.

Shape suffixes: T = frames of display time, S = samples.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from avatar.clock import FPS, FRAME_SAMPLES, MIC_RATE, STREAM_RATE
from avatar.motion.controls import EMOTIONS, Asked
from avatar.motion.ear import Ear
from avatar.motion.state import State
from avatar.motion.viseme_net import VisemeNet
from scripts.motion_clips import MotionClip, SpeechSegment
from scripts.real_speech import align, clips, decoder, read
from scripts.teacher_face import Face, Mouth, Spoken, draw_style
from scripts.teacher_speech import Speech, Talkers

_SEED: Final = 4_2026
_MIC_SAMPLES: Final = MIC_RATE // FPS
_WARM_UP_FRAMES: Final = 3 * FPS
_LONGEST_FRAMES: Final = 29 * FPS
_SHORTEST_FRAMES: Final = 8 * FPS
_FADE_FRAMES: Final = FPS // 2


@dataclass
class Scene:
    """Who does what when. state_T: the avatar's state per frame; heard_S: the visitor's microphone at 16 kHz;
    segments: the avatar's speech; cut: whether each was interrupted."""

    states: list[State] = field(default_factory=list)
    visits: list[tuple[int, NDArray[np.int16]]] = field(default_factory=list)
    segments: list[SpeechSegment] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.states)

    def wait(self, state: State, seconds: float) -> None:
        """Stay in a state."""
        self.states += [state] * round(seconds * FPS)

    def speak(self, speech: Speech, state: State, shown: int | None = None) -> None:
        """Say something now; `shown` frames of it when it is interrupted."""
        whole = -(-len(speech.pcm_S) // FRAME_SAMPLES)
        count = whole if shown is None else min(shown, whole)
        self.segments.append(SpeechSegment(self.frames, count, speech.pcm_S, speech.phones))
        self.cut.append(count < whole)
        self.states += [state] * count

    def heard(self, rng: np.random.Generator) -> NDArray[np.int16]:
        """The microphone over the whole scene, with the noise of a room."""
        noise_S = 10.0 ** (rng.uniform(-80, -50) / 20.0) * 32767 * rng.standard_normal(self.frames * _MIC_SAMPLES)
        for start, pcm_S in self.visits:
            at = start * _MIC_SAMPLES
            noise_S[at : at + len(pcm_S)] += pcm_S[: len(noise_S) - at]
        heard_S: NDArray[np.int16] = np.clip(noise_S, -32768, 32767).astype(np.int16)
        return heard_S


def listen(scene: Scene, talkers: Talkers, seconds: float, rng: np.random.Generator, *, before: int = 0) -> None:
    """The visitor speaks, having begun `before` frames ago; the avatar listens to the end and a little longer."""
    pcm_S = talkers.visitor(seconds, rng)
    scene.visits.append((max(0, scene.frames - before), pcm_S))
    scene.wait(State.LISTENING, len(pcm_S) / MIC_RATE - before / FPS + rng.uniform(0.2, 1.0))


def conversation(speeches: Sequence[Speech], talkers: Talkers, rng: np.random.Generator) -> Scene:
    """Idle, listening, thinking, then the speeches with pauses between; sometimes the visitor interrupts."""
    scene = Scene()
    speaking = State.SPEAKING if rng.random() < 0.93 else State.IDLE  # a caller that never says what it does
    if rng.random() < 0.4:
        scene.wait(State.IDLE, rng.uniform(0.3, 2.0))
    if rng.random() < 0.35:
        listen(scene, talkers, rng.uniform(1.5, 4.0), rng)
    if rng.random() < 0.35:
        scene.wait(State.THINKING, rng.uniform(0.4, 2.0))
    interrupted = int(rng.integers(len(speeches))) if rng.random() < 0.25 else -1
    if rng.random() < 0.3:
        scene.wait(speaking, rng.uniform(0.04, 0.4))
    for i, speech in enumerate(speeches):
        frames = len(speech.pcm_S) // FRAME_SAMPLES
        if scene.frames + frames > _LONGEST_FRAMES and scene.segments:
            break
        if i == interrupted and frames > 30:
            scene.speak(speech, speaking, int(rng.integers(12, frames - 10)))
            if rng.random() < 0.7:
                listen(scene, talkers, rng.uniform(1.5, 3.5), rng, before=int(rng.integers(6, 16)))
                if rng.random() < 0.4:
                    scene.wait(State.THINKING, rng.uniform(0.4, 1.4))
            else:
                scene.wait(State.LISTENING, rng.uniform(0.6, 2.0))
            continue
        scene.speak(speech, speaking)
        if i + 1 < len(speeches) and rng.random() < 0.8:
            scene.wait(speaking, float(rng.choice([rng.uniform(0.08, 0.4), rng.uniform(0.4, 1.2)])))
    scene.wait(speaking, rng.uniform(0.0, 0.5))
    scene.wait(State.LISTENING if rng.random() < 0.5 else State.IDLE, rng.uniform(0.6, 2.0))
    short = _SHORTEST_FRAMES - scene.frames
    if short > 0:
        scene.wait(State.IDLE, short / FPS)
    return scene


def quiet(talkers: Talkers, rng: np.random.Generator) -> Scene:
    """A scene in which the avatar says nothing."""
    scene = Scene()
    while scene.frames < rng.uniform(12, 22) * FPS:
        kind = rng.choice(["idle", "listening", "silent listening", "thinking"], p=[0.3, 0.4, 0.1, 0.2])
        if kind == "listening":
            listen(scene, talkers, rng.uniform(3.0, 8.0), rng)
        else:
            seconds = rng.uniform(1.0, 3.5) if kind == "thinking" else rng.uniform(2.0, 7.0)
            scene.wait(State.LISTENING if kind == "silent listening" else State(kind), seconds)
    return scene


def wishes(scene: Scene, rng: np.random.Generator) -> list[Asked]:
    """What is asked for in every frame: changes come at once or fade over half a second."""
    frames = scene.frames
    starts = [segment.start for segment in scene.segments]
    tracks: dict[str, NDArray[np.float64]] = {}

    def change(names: Sequence[str], values: Sequence[float], start: int, fade: int) -> None:
        """From `start` on; changes of the same names must come in the order of time."""
        for name, value in zip(names, values, strict=True):
            track_T = tracks.setdefault(name, np.full(frames, float(getattr(Asked(), name))))
            share_T = np.clip((np.arange(frames) - start + 1) / fade, 0.0, 1.0)
            track_T += share_T * (value - track_T)

    def moments(most: int, from_start: float) -> list[int]:
        """Frames for up to `most` changes: with a reply, or at any time, the first perhaps from the start."""
        with_reply = [int(rng.choice(starts)) for _ in range(most) if starts and rng.random() < 0.5]
        times = [0] * (rng.random() < from_start) + with_reply + rng.integers(frames, size=most).tolist()
        return sorted(times[: int(rng.integers(1, most + 1))])

    fade = _FADE_FRAMES if rng.random() < 0.4 else 1
    if rng.random() < 0.8:
        for start in moments(3, 0.5):
            change(EMOTIONS, _feeling(rng), start, fade)
    if rng.random() < 0.45:
        for k, start in enumerate(moments(4, 0.3)):
            aim = (0.0, 0.0) if k and rng.random() < 0.25 else (rng.uniform(-15, 15), rng.uniform(-10, 10))
            change(("gaze_azimuth_deg", "gaze_elevation_deg"), aim, start, 1)
    if rng.random() < 0.4:
        for start in moments(2, 0.3):
            scale = 1.0 if rng.random() < 0.15 else math.exp(rng.uniform(-0.2, 0.2))
            change(("distance",), (scale,), start, int(rng.choice([1, FPS])))
    if rng.random() < 0.6:
        change(("liveliness",), (rng.uniform(0.0, 1.0),), 0, 1)
        if rng.random() < 0.2:
            change(("liveliness",), (rng.uniform(0.0, 1.0),), moments(1, 0.0)[0], 1)
    rest = _resting_style(rng)
    return [Asked(**{name: float(track_T[t]) for name, track_T in tracks.items()}, **rest) for t in range(frames)]


def _feeling(rng: np.random.Generator) -> list[float]:
    """Neutral, one emotion, or a mixture of two."""
    values = np.zeros(len(EMOTIONS))
    kind = rng.random()
    if kind > 0.15:
        values[rng.integers(len(EMOTIONS))] = 1.0 if rng.random() < 0.25 else rng.uniform(0.2, 1.0)
    if kind > 0.8:
        values[rng.integers(len(EMOTIONS))] = rng.uniform(0.1, 0.7)
    return values.tolist()


def _resting_style(rng: np.random.Generator) -> dict[str, float]:
    if rng.random() < 0.4:
        return {}
    some = {
        "rest_smile": rng.uniform(0.0, 0.3),
        "rest_brow_inner_up": rng.uniform(0.0, 0.2),
        "rest_brow_down": rng.uniform(0.0, 0.2),
        "rest_squint": rng.uniform(0.0, 0.2),
        "rest_jaw_open": rng.uniform(0.0, 0.04),
        "rest_roll_deg": rng.normal(0.0, 1.8),
    }
    return {name: float(value) for name, value in some.items() if rng.random() < 0.5}


def act(source: str, name: str, scene: Scene, net: VisemeNet | None, rng: np.random.Generator) -> MotionClip:
    """Play a scene."""
    style = draw_style(rng)
    mouth, face, ear = Mouth(rng.spawn(1)[0], style, net), Face(rng.spawn(1)[0], style), Ear()
    said: dict[int, Spoken] = {}
    for segment, cut in zip(scene.segments, scene.cut, strict=True):
        for t, spoken in enumerate(mouth.segment(segment.pcm_S, segment.phones)[: segment.frames]):
            said[segment.start + t] = spoken
        if cut:
            mouth.interrupted()
    asked = wishes(scene, rng)
    heard_TS = scene.heard(rng).reshape(scene.frames, _MIC_SAMPLES)
    for _ in range(_WARM_UP_FRAMES):
        face.step(scene.states[0], asked[0], ear.frame(), None)
    motions, controls, ears = [], [], []
    for t, state in enumerate(scene.states):
        ear.hear(heard_TS[t])
        face.hear(heard_TS[t])
        ear_U = ear.frame()
        motion_D, control_C = face.step(state, asked[t], ear_U, said.get(t))
        motions.append(motion_D)
        controls.append(control_C)
        ears.append(ear_U)
    return MotionClip(source, name, np.stack(motions), np.stack(controls), scene.segments, ear_TU=np.stack(ears))


def teacher_clip(index: int, talkers: Talkers) -> MotionClip:
    """Clip `index` of the synthetic corpus: the same scene whenever it is made (espeak-ng itself varies a little)."""
    rng = np.random.default_rng([_SEED, index])
    held_out = index % 10 == 9
    voice = talkers.voice(rng, unheard=held_out and index % 20 == 9)
    if rng.random() < 0.10:
        scene = quiet(talkers, rng)
    else:
        scene = conversation(talkers.speak(voice, int(rng.integers(3, 8)), rng), talkers, rng)
    clip = act("teacher", f"{index:05d}-{voice.engine}", scene, None, rng)
    return replace(clip, held_out=held_out)


def recorded(kind: str, folder: Path) -> Iterator[tuple[int, str, Speech]]:
    """Number, name and speech of each recording; without phones where its words are unknown or do not align."""
    aligner, texts = decoder(), dict(clips(kind, folder))
    for i, path in enumerate(sorted(folder.glob("*.flac"))):
        pcm_S, text = read(path), texts.get(path)
        phones = None if text is None else align(aligner, pcm_S, text)
        if text is not None and phones is None:
            aligner = decoder()  # what a failed alignment leaves behind spoils the next
        yield i, path.stem, Speech(pcm_S, phones, f"{kind}-{path.stem}")


def varied(speech: Speech, rng: np.random.Generator) -> Speech:
    """The recording a little faster or slower (and higher or lower), louder or softer."""
    warp = float(np.exp(rng.normal(0.0, 0.06)))
    pcm_S = soxr.resample(speech.pcm_S.astype(np.float32) / 32768.0, STREAM_RATE * warp, STREAM_RATE)
    pcm_S *= rng.uniform(0.2, 0.9) / max(1e-3, float(np.abs(pcm_S).max()))
    phones = [replace(p, start_s=p.start_s / warp, end_s=p.end_s / warp) for p in speech.phones or []]
    return Speech((pcm_S * 32767).astype(np.int16), phones if speech.phones is not None else None, speech.voice)


def make_pseudo(kind: str, folder: Path, out: Path, takes: int, talkers: Talkers) -> None:
    """`takes` clips of every recording of a folder that are not there yet."""
    source, total = f"pseudo-{kind}", 0.0
    for i, name, speech in recorded(kind, folder):
        for take in range(takes):
            if (out / source / f"{name}-{take}.npz").exists():
                continue
            rng = np.random.default_rng([_SEED, i, take, len(kind)])
            scene = conversation([varied(speech, rng)], talkers, rng)
            clip = act(source, f"{name}-{take}", scene, VisemeNet(), rng)
            replace(clip, held_out=i % 10 == 9).save(out)
            total += len(clip.motion_TD) / FPS
    print(f"{source}: {total / 60:.1f} min made", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder with ljspeech/ and librispeech_train/")
    parser.add_argument("--hours", type=float, default=0.0, help="synthetic clips to make")
    parser.add_argument("--pseudo", nargs="*", default=[], choices=["lj", "libri"])
    parser.add_argument("--takes", type=int, default=4, help="clips per recording")
    parser.add_argument("--engines", nargs="*", default=["espeak", "flite", "festival"])
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long")
    options = parser.parse_args()
    folders = {"lj": "ljspeech", "libri": "librispeech_train"}
    visitors: list[Path] = []
    if options.data is not None:
        for folder in folders.values():  # a visitor never says what is kept for testing
            visitors += [p for i, p in enumerate(sorted((options.data / folder).glob("*.flac"))) if i % 10 != 9]
    talkers = Talkers(engines=tuple(options.engines), recorded=visitors)
    started, seconds, index = time.monotonic(), 0.0, 0
    while seconds < options.hours * 3600.0 and time.monotonic() - started < options.minutes * 60.0:
        made = list((options.out / "teacher").glob(f"{index:05d}-*.npz"))
        if made:
            with np.load(made[0]) as data:
                seconds += len(data["ear_TU"]) / FPS
        else:
            clip = teacher_clip(index, talkers)
            clip.save(options.out)
            seconds += len(clip.motion_TD) / FPS
        index += 1
        if index % 20 == 0:
            print(f"{index} clips, {seconds / 60:.1f} min after {time.monotonic() - started:.0f} s", flush=True)
    for kind in options.pseudo:
        make_pseudo(kind, options.data / folders[kind], options.out, options.takes, talkers)


if __name__ == "__main__":
    main()
