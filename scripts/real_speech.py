"""Labels for recorded speech, by pocketsphinx: forced alignment of known or of recognised words."""

from __future__ import annotations

import multiprocessing
import re
from functools import partial
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from avatar.audio.features import log_mel
from avatar.audio.load import load_audio
from avatar.audio.phones import TimedPhone, normalise_phone
from avatar.clock import MIC_RATE, STREAM_RATE
from scripts.make_speech_corpus import labels, save

_PAD_S = 0.3  # pocketsphinx places the first and last phone better with silence around


def decoder(words: bool = False):  # type: ignore[no-untyped-def]
    """A pocketsphinx decoder for alignment, or with `words` for dictation."""
    from pocketsphinx import Decoder

    if words:
        return Decoder(loglevel="FATAL", samprate=MIC_RATE)
    return Decoder(loglevel="FATAL", lm=None, samprate=MIC_RATE, bestpath=False, backtrace=True)


def _padded(pcm_S: NDArray[np.int16]) -> bytes:
    low_S = soxr.resample(pcm_S, STREAM_RATE, MIC_RATE)
    pad_S = np.zeros(int(_PAD_S * MIC_RATE), dtype=np.int16)
    return np.concatenate([pad_S, low_S, pad_S]).astype(np.int16).tobytes()


def align(decode, pcm_S: NDArray[np.int16], text: str) -> list[TimedPhone] | None:  # type: ignore[no-untyped-def]
    """Phones of `text` in the sound (int16, 24 kHz); None when a word is unknown or the alignment fails."""
    words = re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " ")).split()
    if not words or any(decode.lookup_word(word) is None for word in words):
        return None
    data = _padded(pcm_S)
    try:
        decode.set_align_text(" ".join(words))
        for stage in range(2):
            decode.start_utt()
            decode.process_raw(data, full_utt=True)
            decode.end_utt()
            if stage == 0:
                if decode.hyp() is None:
                    return None
                decode.set_alignment()
    except RuntimeError:
        return None
    phones = []
    length_s = len(pcm_S) / STREAM_RATE
    for word in decode.get_alignment():
        for phone in word:
            start = phone.start / 100.0 - _PAD_S
            end = start + phone.duration / 100.0
            if end > 0.0:
                phones.append(TimedPhone(normalise_phone(phone.name), max(0.0, start), min(length_s, end)))
    return phones


def dictate(decode, pcm_S: NDArray[np.int16]) -> str:  # type: ignore[no-untyped-def]
    """What pocketsphinx hears."""
    decode.start_utt()
    decode.process_raw(_padded(pcm_S), full_utt=True)
    decode.end_utt()
    return decode.hyp().hypstr if decode.hyp() else ""


def clips(kind: str, folder: Path) -> list[tuple[Path, str | None]]:
    """Sound files with their words (None: unknown)."""
    if kind == "lj":
        rows = (line.split("|") for line in (folder / "metadata.csv").read_text().splitlines())
        return [(folder / f"{row[0]}.flac", row[-1]) for row in rows if (folder / f"{row[0]}.flac").exists()]
    if kind == "grid":
        words: dict[str, list[str]] = {}
        for line in (folder / "grid_s1_words.tsv").read_text().splitlines()[1:]:
            clip, _, _, word = line.split("\t")
            if word not in {"sil", "sp"}:
                words.setdefault(clip, []).append(word)
        every_eighth = sorted(words.items())[::8]  # for testing only: one speaker, six words a clip
        return [(folder / "grid_s1" / f"{clip}.mp4", " ".join(text)) for clip, text in every_eighth]
    if kind == "libri":
        return [(path, None) for path in sorted(folder.glob("*.flac"))]
    raise ValueError(f"unknown kind of real speech {kind!r}: use grid, libri or lj.")


def read(path: Path) -> NDArray[np.int16]:
    """The whole clip, int16 at 24 kHz."""
    return np.concatenate(list(load_audio(path)))


def _label(
    items: list[tuple[Path, str | None]], kind: str
) -> tuple[list[NDArray[np.float16]], list[NDArray[np.uint8]], list[str]]:
    aligner = decoder()
    listener = None
    logs, visemes, names = [], [], []
    for path, text in items:
        pcm_S = read(path)
        if text is None:
            listener = listener or decoder(words=True)
            text = re.sub(r"\([0-9]+\)", "", dictate(listener, pcm_S))
        phones = align(aligner, pcm_S, text)
        if phones is None:
            aligner = decoder()
            continue
        log_TM = log_mel(pcm_S)
        logs.append(log_TM.astype(np.float16))
        visemes.append(labels(phones, len(log_TM)))
        names.append(f"{kind}:{path.stem}")
    return logs, visemes, names


def make(kind: str, folder: Path, out: Path, workers: int) -> None:
    """Write real-KIND.npz."""
    items = clips(kind, folder)
    parts = [items[i :: workers * 4] for i in range(workers * 4)]
    with multiprocessing.Pool(workers) as pool:
        done = pool.map(partial(_label, kind=kind), parts, chunksize=1)
    logs, visemes, names = ([x for part in done for x in part[i]] for i in range(3))
    save(out / f"real-{kind}.npz", logs, visemes, names)
    print(f"{kind}: {len(names)} of {len(items)} clips aligned, {sum(map(len, visemes)) / 6000:.1f} min", flush=True)
