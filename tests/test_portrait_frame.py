"""The frame shows the right pixels at the right places."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.portrait.frame import frame_to_source, outside_distance, sample, to_frame
from avatar.portrait.landmarks import FACE_OVAL


def face_points(x: float, y: float, height: float) -> np.ndarray:
    """468 points in an ellipse of the given height, the oval on its rim."""
    rng = np.random.default_rng(5)
    angle, radius = rng.uniform(0, 2 * np.pi, 468), np.sqrt(rng.uniform(0, 1, 468)) * 0.98
    angle[list(FACE_OVAL)] = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    radius[list(FACE_OVAL)] = 1
    return np.stack(
        [x + 0.4 * height * radius * np.sin(angle), y - 0.5 * height * radius * np.cos(angle), 0 * angle], 1
    ).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(
    x=st.floats(0.2, 0.8), y=st.floats(0.2, 0.8), height=st.floats(80, 900), width=st.integers(300, 2000),
    tall=st.integers(300, 2000), size=st.sampled_from([256, 512, 768]),
)  # fmt: skip
def test_face_keeps_its_share_and_place(x: float, y: float, height: float, width: int, tall: int, size: int) -> None:
    points = face_points(x * width, y * tall, height)
    to_source_33 = frame_to_source(points, size, width, tall)
    framed = to_frame(points, to_source_33)
    low, high = framed[:, :2].min(0), framed[:, :2].max(0)
    share = (high[1] - low[1]) / size
    assert 0.415 < share < 0.505
    assert np.abs((low + high) / 2 - (size - 1) / 2).max() < 0.051 * size + 0.5
    back = framed[:, :2] @ to_source_33[:2, :2].T + to_source_33[:2, 2]
    np.testing.assert_allclose(back, points[:, :2], atol=0.01)


def test_a_roomy_photo_gives_the_plain_framing() -> None:
    to_source_33 = frame_to_source(face_points(1000, 900, 300), 512, 2000, 2000)
    framed = to_frame(face_points(1000, 900, 300), to_source_33)
    assert abs(np.ptp(framed[:, 1]) / 512 - 0.45) < 0.002
    assert np.abs((framed[:, :2].min(0) + framed[:, :2].max(0)) / 2 - 255.5).max() < 0.5


def test_framing_moves_into_the_photo_before_it_makes_things_up() -> None:
    points = face_points(300, 300, 300)
    tight = frame_to_source(points, 512, 620, 620)
    assert not outside_distance(tight, 512, 620, 620).any()
    tighter = frame_to_source(face_points(300, 250, 300), 512, 600, 500)
    assert 0 < (outside_distance(tighter, 512, 600, 500) > 0).mean() < 0.25


@settings(max_examples=40, deadline=None)
@given(scale=st.floats(0.3, 3.0), x=st.floats(20, 120), y=st.floats(20, 120))
def test_sampled_pixels_come_from_where_the_affine_says(scale: float, x: float, y: float) -> None:
    """On waves whose phase is the coordinate: the shift between frame and expectation is below a twelfth of the
    coarser pixel."""
    size = 64
    wave = 40.0 if scale < 1 else 40.0 * scale

    def waves(x_W: np.ndarray, y_H: np.ndarray) -> np.ndarray:
        across = 127 + 100 * np.sin(x_W / wave * 2 * np.pi)[None].repeat(len(y_H), 0)
        down = 127 + 100 * np.sin(y_H / wave * 2 * np.pi)[:, None].repeat(len(x_W), 1)
        return np.stack([across, down, across], -1)

    picture = np.rint(waves(np.arange(400.0), np.arange(400.0))).astype(np.uint8)
    to_source_33 = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])
    frame = sample(picture, to_source_33, size).astype(float)
    grid = np.arange(size) * scale
    expected = waves(grid + x, grid + y)
    for channel, slope in ((0, np.gradient(expected[..., 0], axis=1)), (1, np.gradient(expected[..., 1], axis=0))):
        shift = ((frame - expected)[..., channel] * slope).sum() / (slope**2).sum()
        assert abs(shift) < 0.08 * max(1.0, 1 / scale)
    assert np.abs(frame - expected).mean() < 3


def test_border_is_continued_without_holes() -> None:
    picture = np.full((200, 200, 3), 200, np.uint8)
    picture[:, :100] = (10, 60, 110)
    to_source_33 = np.array([[1.0, 0, -60], [0, 1.0, -60], [0, 0, 1.0]])
    frame = sample(picture, to_source_33, 320)
    assert (frame[160, 5] == (10, 60, 110)).all() and (frame[160, 315] == 200).all()
    assert (frame[5, 60] == (10, 60, 110)).all() and frame.min() >= 10
    edge = np.abs(np.diff(frame[:, :, 0].astype(int), axis=1))
    assert edge[160].max() == 190, "inside, the photo is untouched"
    assert edge[2].max() < 40, "far outside, its edges are blurred"
    distance = outside_distance(to_source_33, 320, 200, 200)
    assert distance[160, 160] == 0 and distance[160, 0] == 60 and np.isclose(distance[0, 0], np.hypot(60, 60))


def test_one_channel_is_framed_alike() -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    to_source_33 = np.array([[0.8, 0, 20.3], [0, 0.8, 10.7], [0, 0, 1.0]])
    three = sample(np.repeat(alpha[..., None], 3, 2), to_source_33, 256)
    np.testing.assert_array_equal(sample(alpha, to_source_33, 256), three[..., 1])
