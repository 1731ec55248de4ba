"""Settings: precedence, provenance, and errors that name the nearest key."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from config import ConfigError, Settings, load
from config.load import known_keys, shown


def test_command_line_beats_environment_beats_profile_beats_default(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('[kiosk]\nport = 1001\nhost = "127.0.0.2"\n[session]\ntitle = "Mine"\n')
    environ = {"VISAVIS_KIOSK__PORT": "1002", "VISAVIS_SESSION__TITLE": "Env"}
    loaded = load(str(profile), environ=environ, overrides={"kiosk.port": 1003, "session.title": None})
    assert (loaded.settings.kiosk.port, loaded.settings.kiosk.host) == (1003, "127.0.0.2")
    assert loaded.settings.session.title == "Env"
    assert loaded.sources["kiosk.port"] == "command line"
    assert loaded.sources["kiosk.host"] == f"profile {profile}"
    assert loaded.sources["session.title"] == "environment VISAVIS_SESSION__TITLE"
    assert loaded.sources["avatar.size"] == "default"


@pytest.mark.parametrize("name", ["kiosk", "customer-service", "tutor"])
def test_built_in_profiles_load_and_their_knowledge_exists(name: str) -> None:
    settings = load(name, environ={}).settings
    assert settings.dialogue.knowledge_dir is not None
    assert list(settings.dialogue.knowledge_dir.glob("*.md"))


def test_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'kiosk'"):
        load("kisok", environ={})


@pytest.mark.parametrize("name", ["../settings", "/etc/passwd", "kiosk.toml/..", ""])
def test_profile_names_do_not_leave_the_folder(name: str) -> None:
    if name == "":
        assert load(name, environ={}).settings.profile == "kiosk"
        return
    with pytest.raises(ConfigError):
        load(name, environ={})


def test_unknown_key_in_profile_names_the_nearest(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text("[kiosk]\nprot = 1\n")
    with pytest.raises(ConfigError, match=r"'kiosk.prot'.*Did you mean 'kiosk.port'"):
        load(str(profile), environ={})


def test_unknown_environment_key_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"VISAVIS_KIOSK__HOTS.*kiosk.host"):
        load(environ={"VISAVIS_KIOSK__HOTS": "x"})


def test_wrong_value_says_where_it_came_from() -> None:
    with pytest.raises(ConfigError, match=r"kiosk.port.*environment VISAVIS_KIOSK__PORT"):
        load(environ={"VISAVIS_KIOSK__PORT": "many"})


def test_broken_toml_is_explained(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text("[kiosk\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(str(profile), environ={})


def test_paths_in_a_profile_are_relative_to_it(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('[dialogue]\nknowledge_dir = "facts"\n[avatar]\nportrait = "./me.png"\n')
    settings = load(str(profile), environ={}).settings
    assert settings.dialogue.knowledge_dir == (tmp_path / "facts").resolve()
    assert Path(settings.avatar.portrait) == tmp_path / "me.png"


def test_secrets_are_never_shown() -> None:
    loaded = load(environ={"VISAVIS_DIALOGUE__API_KEY": "hunter2"})
    key = loaded.settings.dialogue.api_key
    assert key is not None and key.get_secret_value() == "hunter2"
    assert "hunter2" not in shown(key) + repr(loaded.settings) + str(loaded.settings.model_dump())


def test_every_key_can_be_set_from_the_environment() -> None:
    assert "kiosk.port" in known_keys()
    assert load(environ={"VISAVIS_KIOSK__ALLOWED_ORIGINS": "a, b"}).settings.kiosk.allowed_origins == ["a", "b"]


def test_command_line_text_is_read_as_the_environment_is() -> None:
    given = {"kiosk.allowed_origins": "https://a,https://b", "avatar.face_index": "", "avatar.size": "256"}
    environ = {"VISAVIS_" + key.upper().replace(".", "__"): text for key, text in given.items()}
    for loaded in (load(environ=environ), load(environ={"VISAVIS_AVATAR__FACE_INDEX": "3"}, overrides=given)):
        assert loaded.settings.kiosk.allowed_origins == ["https://a", "https://b"]
        assert loaded.settings.avatar.face_index is None
        assert loaded.settings.avatar.size == 256
    assert load(environ={"VISAVIS_KIOSK__ALLOWED_ORIGINS": ""}).settings.kiosk.allowed_origins == []


def test_profile_among_the_overrides_is_loaded() -> None:
    environ = {"VISAVIS_PROFILE": "customer-service"}
    by_set = load(environ=environ, overrides={"profile": "tutor"})
    assert by_set == load("tutor", environ=environ)
    assert by_set.settings.dialogue != load(environ=environ).settings.dialogue
    assert (by_set.settings.profile, by_set.sources["profile"]) == ("tutor", "command line")
    assert load("kiosk", environ=environ, overrides={"profile": "tutor"}).settings.profile == "kiosk"
    with pytest.raises(ConfigError, match="Did you mean 'tutor'"):
        load(environ={}, overrides={"profile": "tutr"})


def test_models_and_portrait_beside_the_profile_are_found_and_names_are_left(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('[speech]\nstt_model = "ears"\ntts_model = "mouth"\n[avatar]\nportrait = "me.png"\n')
    settings = load(str(profile), environ={}).settings
    assert (settings.speech.stt_model, settings.speech.tts_model) == ("ears", "mouth")
    assert settings.avatar.portrait == "me.png"
    (tmp_path / "ears").mkdir()
    (tmp_path / "mouth").mkdir()
    (tmp_path / "me.png").touch()
    settings = load(str(profile), environ={}).settings
    folder = tmp_path.resolve()
    assert (settings.speech.stt_model, settings.speech.tts_model) == (str(folder / "ears"), str(folder / "mouth"))
    assert settings.avatar.portrait == str(folder / "me.png")


def test_plain_settings_ignore_the_process_environment_and_travel_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAVIS_KIOSK__PORT", "1")
    assert Settings().kiosk.port == 8080
    assert load(environ={}).settings.kiosk.port == 8080
    loaded = load()
    assert loaded.settings.kiosk.port == 1
    assert pickle.loads(pickle.dumps(loaded.settings)) == loaded.settings


def test_profile_that_is_not_text_is_explained(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_bytes(b'[session]\ntitle = "\xff"\n')
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(str(profile), environ={})


def test_unknown_section_in_a_profile_is_an_error(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text("[kosk]\nport = 1\n")
    with pytest.raises(ConfigError, match=r"'kosk.port'.*Did you mean 'kiosk.port'"):
        load(str(profile), environ={})
