"""Make the corpus that the viseme network learns from: log-mels and 15 visemes per 10 ms.

    python -m scripts.make_speech_corpus --out /tmp/corpus --hours 5 --workers 2
    python -m scripts.make_speech_corpus --out /tmp/corpus --real grid=DATA/talking_video --workers 1

Synthetic part: espeak-ng (8 accents, 100 variants, random pitch and rate), flite (4 voices) and festival
(1), each utterance at a random resampling (longer and shorter vocal tracts), some in a room; exact phone
times. Real part: clips with known words, force-aligned by pocketsphinx; clips without, aligned to what
pocketsphinx heard. Output: NAME.npz shards with
    log_TM float16 [T, 64], viseme_T uint8 [T], offsets_N int64 [N + 1], voices_N str [N].
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from avatar.audio.features import MELS, log_mel
from avatar.audio.phones import PHONE_TO_VISEME, VISEMES, TimedPhone
from avatar.clock import STREAM_RATE
from scripts.speech_sources import Espeak, Utterance, festival, flite
from scripts.speech_texts import Texts, dictionary_words

ACCENTS = (
    "en-us", "en-us", "en-us", "en-us-nyc", "en", "en-gb-x-rp", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan",
    "en-gb-x-gbcwmd", "en-029",
)  # fmt: skip
FLITE = {"slt": (130, 240), "rms": (75, 140), "awb": (90, 170), "kal": (80, 170), "kal16": (80, 170)}
CHUNK_S = 300.0
"""Seconds of speech in one work item."""


def labels(phones: list[TimedPhone], bins: int) -> NDArray[np.uint8]:
    """The viseme at the middle of each 10 ms bin, uint8 [bins]."""
    viseme_T = np.zeros(bins, dtype=np.uint8)
    for item in phones:
        first, last = round(item.start_s * 100), round(item.end_s * 100)
        viseme_T[first:last] = VISEMES.index(PHONE_TO_VISEME[item.phone])
    return viseme_T


def room(pcm_S: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The sound in a small to middling room: direct path plus an exponentially decaying tail."""
    length = int(STREAM_RATE * rng.uniform(0.1, 0.5))
    decay_S = np.exp(-6.9 * np.arange(length) / length)
    tail_S = rng.standard_normal(length) * decay_S
    tail_S[: int(0.002 * STREAM_RATE)] = 0.0
    tail_S *= rng.uniform(0.2, 0.8) / np.sqrt((tail_S**2).sum())
    tail_S[0] = 1.0
    wet_S: NDArray[np.float32] = fftconvolve(pcm_S, tail_S)[: len(pcm_S)].astype(np.float32)
    return wet_S


def examples(utterance: Utterance, rng: np.random.Generator) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Features and labels of one utterance at a random vocal tract, level and room."""
    warp = float(np.exp(rng.normal(0.0, 0.10)))
    pcm_S = soxr.resample(utterance.pcm_S, utterance.rate * warp, STREAM_RATE).astype(np.float32)
    phones = [TimedPhone(p.phone, p.start_s / warp, p.end_s / warp) for p in utterance.phones]
    lead, trail = rng.uniform(0.0, 0.5, 2)
    pcm_S = np.concatenate(
        [np.zeros(int(lead * STREAM_RATE)), pcm_S, np.zeros(int(trail * STREAM_RATE))], dtype=np.float32
    )
    phones = [p.shifted(int(lead * STREAM_RATE) / STREAM_RATE) for p in phones]
    if rng.random() < 0.3:
        pcm_S = room(pcm_S, rng)
    pcm_S *= rng.uniform(0.25, 0.9) / max(1e-3, float(np.abs(pcm_S).max()))
    log_TM = log_mel((pcm_S * 32767).astype(np.int16))
    return log_TM.astype(np.float16), labels(phones, len(log_TM))


def synthesise(job: tuple[str, int, Path]) -> float:
    """One shard of CHUNK_S seconds from one engine; returns the seconds made."""
    engine, seed, out = job
    path = out / f"{engine}-{seed:05d}.npz"
    if path.exists():
        return CHUNK_S
    rng = np.random.default_rng([seed, *engine.encode()])
    texts = Texts(int(rng.integers(1 << 31)), dictionary_words())
    espeak = Espeak() if engine == "espeak" else None
    logs, visemes, voices = [], [], []
    seconds = 0.0
    while seconds < CHUNK_S:
        batch: list[Utterance | None] = []
        if espeak is not None:
            accent = ACCENTS[int(rng.integers(len(ACCENTS)))]
            variant = "" if rng.random() < 0.15 else "+" + espeak.variants[int(rng.integers(len(espeak.variants)))]
            rate, pitch, spread = rng.integers(115, 240), rng.integers(15, 85), rng.integers(20, 80)
            batch.append(espeak.speak(texts.next(), accent + variant, int(rate), int(pitch), int(spread)))
        elif engine.startswith("flite"):
            voice = engine.removeprefix("flite-")
            pitch_hz = rng.uniform(*FLITE[voice]) if rng.random() < 0.7 else None
            batch.append(flite(texts.next(), voice, float(rng.uniform(0.75, 1.35)), pitch_hz))
        else:
            batch += festival([texts.next() for _ in range(40)])
        for utterance in batch:
            if utterance is None or len(utterance.pcm_S) < utterance.rate // 2:
                continue
            log_TM, viseme_T = examples(utterance, rng)
            logs.append(log_TM)
            visemes.append(viseme_T)
            voices.append(utterance.voice)
            seconds += len(log_TM) / 100.0
    save(path, logs, visemes, voices)
    return seconds


def save(path: Path, logs: list[NDArray[np.float16]], visemes: list[NDArray[np.uint8]], voices: list[str]) -> None:
    """Write one shard, whole or not at all."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        log_TM=np.concatenate(logs) if logs else np.zeros((0, MELS), np.float16),
        viseme_T=np.concatenate(visemes),
        offsets_N=np.cumsum([0] + [len(v) for v in visemes]),
        voices_N=np.array(voices),
    )
    temporary.rename(path)


def jobs(hours: float, out: Path) -> list[tuple[str, int, Path]]:
    """Half espeak, a third flite, the rest festival, interleaved so that a partial corpus is mixed too."""
    count = max(5, round(hours * 3600.0 / CHUNK_S))
    cycle = [
        "espeak",
        "flite-slt",
        "espeak",
        "flite-rms",
        "festival",
        "espeak",
        "flite-awb",
        "espeak",
        "flite-kal16",
        "espeak",
    ]
    cycle += [
        "flite-slt",
        "espeak",
        "flite-rms",
        "espeak",
        "festival",
        "espeak",
        "flite-kal",
        "espeak",
        "flite-awb",
        "espeak",
    ]
    return [(cycle[i % len(cycle)], i, out) for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=0.0, help="synthetic speech to make")
    parser.add_argument("--real", nargs="*", default=[], metavar="KIND=FOLDER", help="grid=, libri= or lj= folder")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if arguments.hours > 0:
        seconds = 0.0
        with multiprocessing.Pool(arguments.workers) as pool:
            for made in pool.imap_unordered(synthesise, jobs(arguments.hours, arguments.out)):
                seconds += made
                print(f"{seconds / 3600:.2f} h of speech after {time.monotonic() - started:.0f} s", flush=True)
    if arguments.real:
        from scripts import real_speech

        for item in arguments.real:
            kind, _, folder = item.partition("=")
            real_speech.make(kind, Path(folder), arguments.out, arguments.workers)


if __name__ == "__main__":
    main()
