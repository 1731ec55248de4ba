"""The motion's controls over the kiosk's socket: obeyed with `session.debug`, refused without, gone with the visit."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.transports.protocol import AZIMUTH_DEG, FARTHEST, NEAREST, Offer, ProtocolError, parse_controls, parse_text
from avatar.motion import space
from avatar.motion.asked_text import emotion_text
from avatar.motion.controls import EMOTIONS, Asked
from avatar.render.output import FrameFormat
from tests.kiosk_client import Page
from tests.test_kiosk_server import running

AZIMUTH = space.INDEX["gazeAzimuth"]
LEVELS_PER_DEG = 5.0


class GazeDecoder:
    """A plain picture, the lighter the further right the eyes look."""

    format = FrameFormat(128)

    def render(self, motion_D: NDArray[np.float32]) -> NDArray[np.uint8]:
        level = 128 + LEVELS_PER_DEG * np.degrees(motion_D[AZIMUTH])
        return np.full((128, 128, 3), np.clip(level, 0, 255), np.uint8)


def wish(**changes: Any) -> dict[str, Any]:
    message = {"type": "controls", "version": 1, "emotion": "neutral", "liveliness": 0.5, "gaze": [0, 0], "distance": 1}
    return message | changes


def gazes(page: Page, last: int) -> float:
    """Median gaze in the last pictures, degrees."""
    images = [
        cv2.imdecode(np.frombuffer(item.payload, np.uint8), cv2.IMREAD_GRAYSCALE) for item in page.pictures[-last:]
    ]
    return float(np.median([(float(image.mean()) - 128) / LEVELS_PER_DEG for image in images if image is not None]))


async def test_what_is_asked_is_seen_kept_over_a_reload_and_gone_with_the_visit() -> None:
    overrides = {"session.debug": True, "avatar.gaze": "0,-2", "avatar.emotion": "warm:0.5"}
    async with running(decoder=GazeDecoder(), **overrides) as server:
        async with Page(server.link) as page:
            offer = page_offer = (await hello(page))["controls"]
            assert offer["now"] == offer["configured"] and offer["version"] == 1
            assert offer["now"]["emotion"] == "warm:0.5" and offer["now"]["gaze"] == [0.0, -2.0]
            assert offer["emotions"] == ["neutral", *EMOTIONS]
            await page.send(**wish(gaze=[15, 3], emotion="happy:0.4"))
            seen = len(page.pictures)
            await page.until(lambda: len(page.pictures) > seen + 60)
            assert gazes(page, 40) == pytest.approx(15.0, abs=8), "but for a glance"
            session = page.messages[0]["session"]
        async with Page(server.link, session=session) as again:
            offer = (await hello(again))["controls"]
            assert offer["now"]["gaze"] == [15.0, 3.0] and offer["now"]["emotion"] == "happy:0.4"
            assert offer["configured"] == page_offer["configured"]
            assert server._visit is not None
            server._visit.ended("idle")
            await again.until(lambda: again.closed)
        async with Page(server.link) as following:
            offer = (await hello(following))["controls"]
            assert offer["now"] == offer["configured"] == page_offer["configured"], "nothing of the last visitor stays"


async def hello(page: Page) -> dict[str, Any]:
    await page.until(lambda: page.of("hello"))
    return page.of("hello")[0]


async def test_without_debug_they_are_neither_offered_nor_honoured() -> None:
    async with running(decoder=GazeDecoder()) as server, Page(server.link) as page:
        assert (await hello(page))["controls"] is None
        await page.send(**wish(gaze=[15, 0]))
        await page.until(lambda: page.of("error"))
        (error,) = page.of("error")
        assert error["code"] == "controls_off" and not error["fatal"] and "session.debug" in error["hint"]
        seen = len(page.pictures)
        await page.until(lambda: len(page.pictures) > seen + 40)
        assert abs(gazes(page, 40)) < 6.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 2}, "version"),
        ({"emotion": "angry"}, "is no emotion"),
        ({"emotion": "warm:3"}, "is no emotion"),
        ({"emotion": "x" * 500}, "at most 120"),
        ({"gaze": [0]}, "gaze"),
        ({"gaze": [21, 0]}, "gaze.0"),
        ({"gaze": [0, -12.5]}, "gaze.1"),
        ({"liveliness": 1.01}, "liveliness"),
        ({"liveliness": "NaN"}, "liveliness"),
        ({"distance": 0.5}, "distance"),
        ({"rest_smile": 1}, "rest_smile"),
    ],
)
async def test_other_values_are_not_in_the_protocol(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ProtocolError, match=told) as refused:
        parse_text(json.dumps(wish(**changes)))
    assert "angry" not in str(refused.value), "a client's words are not quoted"


@given(
    st.dictionaries(st.sampled_from(EMOTIONS), st.integers(0, 100).map(lambda n: n / 100), max_size=3),
    st.floats(0, 1),
    st.tuples(st.floats(-AZIMUTH_DEG, AZIMUTH_DEG), st.floats(-12, 12)),
    st.floats(NEAREST, FARTHEST),
)
def test_an_offer_sent_back_asks_for_the_same(
    mixture: dict[str, float], liveliness: float, gaze: tuple[float, float], distance: float
) -> None:
    asked = Asked(**mixture, liveliness=liveliness, gaze_azimuth_deg=gaze[0], gaze_elevation_deg=gaze[1])
    offer = Offer.of(asked, Asked(distance=distance))
    sent = parse_controls(offer.now.model_copy().model_dump_json()[:-1] + ', "version": 1}')
    assert sent.change().over(Asked()) == asked
    assert sent.emotion == emotion_text(asked)
    assert offer.configured.distance == pytest.approx(distance)
