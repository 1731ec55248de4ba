"""Puts the settings together and remembers where each value came from."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from config.settings import Settings

ENV_PREFIX = "VISAVIS_"
PROFILES_DIR = Path(__file__).parent / "profiles"


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

    profile: a built-in profile's name or a TOML file; None takes `VISAVIS_PROFILE`, else `kiosk`.
    overrides: dotted keys (`{"kiosk.port": 8090}`), as the command line gives them; None values are ignored.
    Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    name = profile or environ.get(ENV_PREFIX + "PROFILE") or "kiosk"
    tree: dict[str, Any] = {"profile": name}
    sources = {key: "default" for key, _ in leaves(Settings())}
    sources["profile"] = (
        "command line" if profile else ("environment" if ENV_PREFIX + "PROFILE" in environ else "default")
    )

    path = profile_path(name)
    for key, value in _flatten(_read_toml(path)):
        _check_key(key, f"profile {path}")
        _put(tree, key, _resolve_path(key, value, path.parent))
        sources[key] = f"profile {path}"
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable == ENV_PREFIX + "PROFILE":
            continue
        key = variable[len(ENV_PREFIX) :].lower().replace("__", ".")
        _check_key(key, f"environment variable {variable}")
        _put(tree, key, _parse_env(key, text))
        sources[key] = f"environment {variable}"
    for key, value in (overrides or {}).items():
        if value is None:
            continue
        _check_key(key, "command line")
        _put(tree, key, value)
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


def known_keys() -> list[str]:
    """All dotted keys."""
    return [key for key, _ in leaves(Settings())]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
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


def _nearest(word: str, known: list[str]) -> str:
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


def _parse_env(key: str, text: str) -> Any:
    annotation = _field(key)
    if annotation == list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]
    if text == "" and type(None) in get_args(annotation):
        return None
    return text


def _resolve_path(key: str, value: Any, folder: Path) -> Any:
    annotation = _field(key)
    is_path = annotation is Path or Path in get_args(annotation)
    if is_path and isinstance(value, str):
        return (folder / Path(value).expanduser()).resolve()
    if key == "avatar.portrait" and isinstance(value, str) and ("/" in value or "\\" in value):
        return str(folder / Path(value).expanduser())
    return value


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in item["loc"])
        origin = next((sources[k] for k in (key, key.rsplit(".", 1)[0]) if k in sources), "default")
        lines.append(f"Setting '{key}' ({origin}): {item['msg']}.")
    return "\n".join(lines)
