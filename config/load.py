"""Puts the settings together and remembers where each value came from."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from config.settings import Settings

ENV_PREFIX: Final = "VISAVIS_"
PROFILE_VARIABLE: Final = ENV_PREFIX + "PROFILE"
PROFILES_DIR = Path(__file__).parent / "profiles"
FILE_OR_NAME: Final = (
    "avatar.portrait", "avatar.background", "avatar.motion_model", "speech.stt_model", "speech.tts_model",
)  # fmt: skip
"""Settings that are either a file or folder, or a name that means something elsewhere."""
NAMES: Final = ("", "default", "photo", "transparent", "small", "base")
"""Names among them that are never a file beside the profile."""


class ConfigError(ValueError):
    """A setting is wrong; the message says which, where it came from and what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and, for each leaf (`kiosk.port`), the place its value came from."""

    settings: Settings
    sources: Mapping[str, str]


def load(
    profile: str | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Load the settings: default < profile < environment `VISAVIS_*` < `overrides`.

    profile: a built-in profile's name or a TOML file; None takes `profile` of the overrides, else
    `VISAVIS_PROFILE`, else `kiosk`.
    overrides: dotted keys (`{"kiosk.port": 8090}`), as the command line gives them; text is read as the
    environment's is (`a,b` for a list, empty for None), None values are ignored.
    Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    profile_override = given.pop("profile", None)
    chosen = profile or profile_override
    name = chosen or environ.get(PROFILE_VARIABLE) or "kiosk"
    tree: dict[str, Any] = {"profile": name}
    sources = dict.fromkeys(known_keys(), "default")
    if chosen:
        sources["profile"] = "command line"
    elif environ.get(PROFILE_VARIABLE):
        sources["profile"] = f"environment {PROFILE_VARIABLE}"

    path = profile_path(name)
    for key, value in _flatten(_read_toml(path)):
        _check_key(key, f"profile {path}")
        _put(tree, key, _resolve_path(key, value, path.parent))
        sources[key] = f"profile {path}"
    variables = _variables(environ)
    for key, variable in variables.items():
        _check_key(key, f"environment variable {variable}")
    for key, text in _flatten(_Environment(environ)()):
        _put(tree, key, _typed(key, text))
        sources[key] = f"environment {variables[key]}"
    for key, value in given.items():
        _check_key(key, "command line")
        _put(tree, key, _typed(key, value))
        sources[key] = "command line"
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, sources)) from None
    return Loaded(settings, sources)


def profile_path(name: str) -> Path:
    """The TOML file of a profile: a built-in name or a path. Raises ConfigError."""
    candidate = Path(name)
    if candidate.suffix == ".toml":
        if not candidate.is_file():
            raise ConfigError(f"There is no profile file {candidate}. Check the path.")
        return candidate.resolve()
    path = PROFILES_DIR / f"{name}.toml"
    if path.parent != PROFILES_DIR or not path.is_file():
        known = sorted(p.stem for p in PROFILES_DIR.glob("*.toml"))
        raise ConfigError(
            f"There is no profile '{name}'.{_nearest(name, known)} "
            f"Built in: {', '.join(known)}; or give the path of a .toml file."
        )
    return path


def leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf setting as (dotted key, value)."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def shown(value: Any) -> str:
    """A value as text, secrets masked."""
    if isinstance(value, SecretStr):
        return "(set, hidden)" if value.get_secret_value() else "(empty)"
    return "(not set)" if value is None else str(value)


@cache
def known_keys() -> tuple[str, ...]:
    """All dotted keys."""
    return tuple(key for key, _ in leaves(Settings()))


class _Environment(EnvSettingsSource):
    """The `VISAVIS_*` variables of a given mapping; every leaf stays text, which `_typed` reads."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = {variable.lower(): environ[variable] for variable in _variables(environ).values()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Lists are separated by commas here, not JSON."""
        return value


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The dotted key of each variable that sets something, with the variable; `VISAVIS_PROFILE` is read apart."""
    names = sorted(name for name in environ if name.startswith(ENV_PREFIX) and name != PROFILE_VARIABLE)
    # A dot in a variable's name separates nothing.
    return {
        ".".join(part.replace(".", "_") for part in name[len(ENV_PREFIX) :].lower().split("__")): name for name in names
    }


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return TomlConfigSettingsSource(Settings, path)()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"Profile {path} is not valid TOML: {error}.") from None
    except OSError as error:
        raise ConfigError(f"Profile {path} cannot be read: {error.strerror}.") from None


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = value


def _check_key(key: str, source: str) -> None:
    known = known_keys()
    if key not in known:
        raise ConfigError(f"Unknown setting '{key}' ({source}).{_nearest(key, known)} See `visavis config show`.")


def _nearest(word: str, known: Sequence[str]) -> str:
    by_leaf = {key.rpartition(".")[2]: key for key in known}
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if not close:
        close = [by_leaf[leaf] for leaf in difflib.get_close_matches(word.rpartition(".")[2], by_leaf, n=1, cutoff=0.6)]
    return f" Did you mean '{close[0]}'?" if close else ""


def _field(key: str) -> Any:
    *parents, last = key.split(".")
    model: type[BaseModel] = Settings
    for parent in parents:
        model = model.model_fields[parent].annotation  # type: ignore[assignment]
    return model.model_fields[last].annotation


def _typed(key: str, value: Any) -> Any:
    """Text of the environment or the command line as the setting's type reads it; anything else unchanged."""
    annotation = _field(key)
    if not isinstance(value, str):
        return value
    if annotation == list[str]:
        return [part.strip() for part in value.split(",") if part.strip()]
    if value == "" and type(None) in get_args(annotation):
        return None
    if get_origin(annotation) is Literal:
        return next((choice for choice in get_args(annotation) if str(choice) == value), value)
    return value


def _resolve_path(key: str, value: Any, folder: Path) -> Any:
    """A profile's path relative to its folder; what may also be a name only where such a file or folder exists."""
    annotation = _field(key)
    is_path = annotation is Path or Path in get_args(annotation)
    if is_path and isinstance(value, str):
        return (folder / Path(value).expanduser()).resolve()
    if key in FILE_OR_NAME and isinstance(value, str) and value not in NAMES:
        candidate = folder / Path(value).expanduser()
        # A portrait given with a folder can only be a file: the error about a missing one then shows where it should be
        written_as_path = key == "avatar.portrait" and ("/" in value or "\\" in value)
        if written_as_path or candidate.exists():
            return str(candidate)
    return value


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in item["loc"])
        origin = next((sources[k] for k in (key, key.rsplit(".", 1)[0]) if k in sources), "default")
        lines.append(f"Setting '{key}' ({origin}): {item['msg']}.")
    return "\n".join(lines)
