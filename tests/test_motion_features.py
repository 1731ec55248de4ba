"""What the motion network hears does not depend on how audio was cut, and never on what lies beyond the look-ahead."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES
from avatar.motion.articulation import ARTICULATORS
from avatar.motion.diffusion.features import SpeechFeatures, rows_of, silent_row
from avatar.motion.diffusion.layout import AUDIO, AUDIO_COLUMNS, BLOCK, HEARD_LOOK, LOOK
from tests.test_motion_viseme_net import sound

FRAMES = 20
SPEECH_S = sound(FRAMES * FRAME_SAMPLES / 24_000)
PHONES = [TimedPhone(p, 0.1 * i, 0.1 * (i + 1)) for i, p in enumerate(("sil", "M", "AA", "B", "IY", "S", "UW", "sil"))]


def column(rows_TA: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    return rows_TA[:, AUDIO_COLUMNS[name]]


def block_rows(features: SpeechFeatures, first: int) -> NDArray[np.float32]:
    end = first + BLOCK
    return features.rows(first - 4, end + LOOK, heard=end + HEARD_LOOK, known=end + LOOK)


@given(cuts=st.lists(st.integers(1, len(SPEECH_S) - 1), max_size=12), phones=st.booleans())
@settings(max_examples=20, deadline=None)
def test_rows_do_not_depend_on_the_cutting(cuts: list[int], phones: bool) -> None:
    whole, pieces = SpeechFeatures(), SpeechFeatures()
    whole.push(SPEECH_S, PHONES if phones else None)
    edges = [0, *sorted(set(cuts)), len(SPEECH_S)]
    for i, (low, high) in enumerate(pairwise(edges)):
        pieces.push(SPEECH_S[low:high], (PHONES if i == 0 else []) if phones else None)
    for first in range(0, FRAMES - BLOCK - LOOK + 1, BLOCK):
        assert np.array_equal(block_rows(whole, first), block_rows(pieces, first))


@pytest.mark.parametrize("phones", [True, False])
def test_a_block_knows_nothing_beyond_its_look_ahead(phones: bool) -> None:
    end = 2 * BLOCK
    short, long = SpeechFeatures(), SpeechFeatures()
    known_s = (end + LOOK) * FRAME_SAMPLES / 24_000
    inside = [TimedPhone(p.phone, p.start_s, min(p.end_s, known_s)) for p in PHONES if p.start_s < known_s]
    short.push(SPEECH_S[: (end + LOOK) * FRAME_SAMPLES], inside if phones else None)
    long.push(SPEECH_S, PHONES if phones else None)
    assert np.array_equal(block_rows(short, BLOCK), block_rows(long, BLOCK))


def test_look_ahead_rows_say_what_they_know() -> None:
    features = SpeechFeatures()
    features.push(SPEECH_S, None)
    rows_TA = block_rows(features, BLOCK)
    assert column(rows_TA, "flag_heard")[-LOOK:, 0].tolist() == [1.0, 0.0, 0.0]
    assert column(rows_TA, "flag_artic")[-LOOK:, 0].tolist() == [0.0, 0.0, 0.0]
    assert column(rows_TA, "flag_known")[-LOOK:, 0].tolist() == [1.0, 1.0, 1.0]
    assert not column(rows_TA, "hidden")[-2:].any()
    assert column(rows_TA, "level")[-1].any()


def test_after_the_segment_there_is_silence_even_if_another_one_waits() -> None:
    alone, queued = SpeechFeatures(), SpeechFeatures()
    for features in (alone, queued):
        features.push(SPEECH_S, PHONES)
        features.end_segment()
    queued.push(SPEECH_S, PHONES)
    end = FRAMES
    for features in (alone, queued):
        rows_TA = features.rows(end - BLOCK, end + LOOK, heard=end + HEARD_LOOK, known=end + LOOK)
        assert np.array_equal(rows_TA[BLOCK:], np.tile(silent_row(), (LOOK, 1)))
    assert np.array_equal(block_rows(alone, end - BLOCK), block_rows(queued, end - BLOCK))


def test_segments_follow_each_other_on_one_timeline() -> None:
    features = SpeechFeatures()
    features.push(SPEECH_S, PHONES)
    features.end_segment()
    features.push(SPEECH_S, None)
    rows_TA = block_rows(features, FRAMES)
    assert column(rows_TA, "flag_phones")[:, 0].tolist()[:4] == [1.0] * 4  # the end of the first segment
    assert not column(rows_TA, "flag_phones")[4:].any()
    before_TA = features.rows(-3, 2, heard=2 + HEARD_LOOK, known=2 + LOOK)
    assert np.array_equal(before_TA[:3], np.tile(silent_row(), (3, 1)))


def test_phones_shape_the_articulators_and_their_shares() -> None:
    with_TA, by_ear_T9 = rows_of(SPEECH_S, PHONES)
    assert with_TA.shape == (FRAMES, AUDIO) and by_ear_T9.shape == (FRAMES, len(ARTICULATORS))
    closure = ARTICULATORS.index("closure")
    closed_T = column(with_TA, "artic")[:, closure]
    assert closed_T[3] == 1.0 and closed_T[6] == 0.0  # M at 0.1-0.2 s, AA at 0.2-0.3 s
    assert np.allclose(column(with_TA, "share").sum(1)[:17], 1.0, atol=1e-4)
    without_TA, _ = rows_of(SPEECH_S, None)
    assert np.array_equal(column(without_TA, "artic"), by_ear_T9)
    assert not column(without_TA, "share").any()


def test_memory_stays_flat() -> None:
    features = SpeechFeatures()
    held = []
    for second in range(90):
        features.push(SPEECH_S, None)
        block_rows(features, features.frames - BLOCK - LOOK)
        features.forget(features.frames - 15)
        if second % 30 == 29:
            stores = [features._hidden, features._posterior, features._loudness.rows, features._by_ear.rows]
            held.append(sum(len(rows._data) for rows in (*stores, features._pitch, features._rows)))
    assert held[2] == held[1]


@pytest.mark.parametrize("frames", range(BLOCK + LOOK, BLOCK + LOOK + 5))
@pytest.mark.parametrize("phones", [True, False])
def test_rows_do_not_depend_on_when_the_end_was_told(frames: int, phones: bool) -> None:
    early, late = SpeechFeatures(), SpeechFeatures()
    for features in (early, late):
        features.push(SPEECH_S[: frames * FRAME_SAMPLES], PHONES if phones else None)
    early.end_segment()
    assert np.array_equal(block_rows(early, 0), block_rows(late, 0))
