"""What is asked, as text: one grammar, refused with a sentence, and written so that it is read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar.motion.asked_text import (
    AskedChange,
    asked_of,
    emotion_text,
    parse_change,
    parse_distance,
    parse_emotion,
    parse_gaze,
    parse_liveliness,
)
from avatar.motion.controls import EMOTIONS, Asked
from config import ConfigError, load
from config.load import PROFILES_DIR
from config.settings import AvatarSettings

percents = st.integers(1, 100).map(lambda percent: percent / 100)


@given(st.dictionaries(st.sampled_from(EMOTIONS), percents, max_size=4))
def test_an_emotion_is_read_back_as_it_was_written(mixture: dict[str, float]) -> None:
    asked = Asked(**mixture)
    text = emotion_text(asked)
    assert parse_emotion(text) == tuple(getattr(asked, name) for name in EMOTIONS)
    assert text == "neutral" if not mixture else "neutral" not in text
    assert parse_emotion(f" {text.upper().replace('+', ' + ')} ") == parse_emotion(text)


def test_forms() -> None:
    assert parse_emotion("warm") == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert parse_emotion("happy:0.5+surprised:0.3") == (0.0, 0.5, 0.0, 0.0, 0.3, 0.0)
    assert not any(parse_emotion("neutral"))
    pleasant, unpleasant = parse_emotion("valence=0.6,arousal=0.1"), parse_emotion("valence = -0.6, arousal = -0.3")
    assert pleasant[0] + pleasant[1] > 0.4 and pleasant[2] == 0.0
    assert unpleasant[2] > 0.2 and unpleasant[1] == 0.0
    assert parse_gaze(" 10, -3.5 ") == (10.0, -3.5)
    assert [parse_liveliness(word) for word in ("composed", "Usual", "animated", "0.25")] == [0.0, 0.5, 1.0, 0.25]
    assert parse_distance("near") < parse_distance("usual") == 1.0 < parse_distance("far")


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("emotion", "angry", "warm, happy"),
        ("emotion", "warm:2", r"0 \(none\) to 1"),
        ("emotion", "warm:much", "a number"),
        ("emotion", "warm:nan", "a number"),
        ("emotion", "warm:0.3+warm:0.4", "twice"),
        ("emotion", "", "neutral"),
        ("emotion", "valence=2,arousal=0", "-1 to 1"),
        ("liveliness", "wild", "composed, usual or animated"),
        ("liveliness", "1.1", "from 0 to 1"),
        ("liveliness", "nan", "from 0 to 1"),
        ("gaze", "10", "such as 10,0"),
        ("gaze", "10,x", "a number"),
        ("gaze", "30,0", "20 degrees to a side"),
        ("gaze", "inf,0", "a number"),
        ("distance", "close", "near, usual or far"),
        ("distance", "0.1", "0.78 to 1.28"),
        ("mood", "blue", "emotion, liveliness, gaze, distance"),
    ],
)
def test_what_is_wrong_is_told(key: str, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_change({key: text})


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_emotion, parse_liveliness, parse_distance, parse_gaze):
        try:
            value = parse(text)
        except ValueError as error:
            assert "\n" not in str(error).replace(repr(text), "")
        else:
            assert all(math.isfinite(number) for number in (value if isinstance(value, tuple) else (value,)))


def test_a_change_leaves_the_rest_and_a_later_one_wins() -> None:
    asked = Asked(warm=0.4, liveliness=0.2, rest_smile=0.1)
    change = AskedChange(gaze_deg=(5.0, 1.0))
    assert change.over(asked) == Asked(
        warm=0.4, liveliness=0.2, rest_smile=0.1, gaze_azimuth_deg=5.0, gaze_elevation_deg=1.0
    )
    both = change.then(parse_change({"emotion": "firm:0.5", "gaze": "-5,0"})).then(AskedChange(liveliness=0.0))
    assert both.over(asked) == Asked(firm=0.5, liveliness=0.0, rest_smile=0.1, gaze_azimuth_deg=-5.0)


def test_settings_name_the_setting_and_where_it_came_from() -> None:
    loaded = load("kiosk", environ={"VISAVIS_AVATAR__LIVELINESS": "0.7"}, overrides={"avatar.emotion": "angry"})
    with pytest.raises(ConfigError, match=r"Setting 'avatar\.emotion' \(command line\): unknown emotion 'angry'"):
        asked_of(loaded.settings.avatar, loaded.sources)
    fine = load("kiosk", environ={"VISAVIS_AVATAR__LIVELINESS": "0.7"}, overrides={"avatar.gaze": "0,-2"}).settings
    assert asked_of(fine.avatar).liveliness == 0.7
    assert asked_of(fine.avatar).gaze_elevation_deg == -2.0


def test_every_profile_asks_for_something_that_can_be_had() -> None:
    assert asked_of(AvatarSettings()) == Asked()
    for profile in PROFILES_DIR.glob("*.toml"):
        asked = asked_of(load(profile.stem, environ={}).settings.avatar)
        assert 0.0 < asked.warm <= 0.5, "friendly, and never a grin"
        assert asked.gaze_azimuth_deg == asked.gaze_elevation_deg == 0.0, "a visitor is looked at"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("avatar.motion", "magic", "'diffusion' or 'articulation'"),
        ("avatar.motion_model", "huge", "small, base, or the path"),
        ("avatar.motion_steps", "0", "greater than or equal to 1"),
        ("avatar.motion_steps", "11", "less than or equal to 10"),
    ],
)
def test_settings_of_the_motion_itself(key: str, value: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load("kiosk", environ={}, overrides={key: value})
