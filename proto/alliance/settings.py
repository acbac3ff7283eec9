"""How both programs read their configuration, so that who runs both learns it once.

One frozen dataclass per program; values come from, in rising order: its defaults, a TOML file (tables are
sections, `[server] address = ...`), environment variables (`PREFIX_SERVER_ADDRESS`). Secrets are never values
here: they are paths of files. Every value remembers its origin for `config show --origin`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, get_type_hints

from alliance.errors import InvalidInput


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


T = TypeVar("T", bound=_Dataclass)


def load(cls: type[T], file: Path, *, prefix: str, environ: Mapping[str, str] = os.environ) -> tuple[T, dict[str, str]]:
    """Reads settings and where each came from.

    Field `server_address` is `[server] address` in the file and `PREFIX_SERVER_ADDRESS` in the environment.

    Returns:
        The settings and a map of field name to origin ("default", "hub.toml", "$ALLIANCE_HUB_...").

    Raises:
        InvalidInput: unreadable TOML, an unknown key, or a value of the wrong type; names the key.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    types = get_type_hints(cls)
    values: dict[str, object] = {}
    origins = dict.fromkeys(sorted(known), "default")
    for key, value in _file_values(file).items():
        if key not in known:
            raise InvalidInput(
                "unknown setting", reason="SETTING_UNKNOWN", field=_dotted(key), remedy=f"remove it from {file.name}"
            )
        values[key], origins[key] = _typed(key, value, types[key]), file.name
    for key in known:
        name = f"{prefix}_{key.upper()}"
        if name in environ:
            values[key], origins[key] = _typed(key, environ[name], types[key]), f"${name}"
    return cls(**values), origins


def _file_values(file: Path) -> dict[str, object]:
    if not file.exists():
        return {}
    try:
        document = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{file.name} cannot be read: {error}", reason="SETTINGS_UNREADABLE", remedy="mend the file"
        ) from error
    flat: dict[str, object] = {}
    for section, value in document.items():
        if isinstance(value, dict):
            flat.update({f"{section}_{key}": inner for key, inner in value.items()})
        else:
            flat[section] = value
    return flat


def _typed(key: str, value: object, wanted: type) -> object:
    if isinstance(value, bool) or wanted is bool:
        if isinstance(value, bool) and wanted is bool:
            return value
        if wanted is bool and isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
            return value.lower() in ("true", "1")
    elif wanted is Path and isinstance(value, str):
        return Path(value)
    elif (wanted is int and isinstance(value, int | str)) or (wanted is float and isinstance(value, int | float | str)):
        try:
            return wanted(value)
        except ValueError:
            pass
    elif isinstance(value, wanted):
        return value
    raise InvalidInput(
        f"expected {wanted.__name__}, got {value!r}"[:200],
        reason="SETTING_TYPE",
        field=_dotted(key),
        remedy="mend the value",
    )


def _dotted(key: str) -> str:
    return key.replace("_", ".", 1)


def rows(settings: _Dataclass, origins: Mapping[str, str] | None) -> list[dict[str, object]]:
    """Every setting as `config show` prints it, with where it is from if `origins` tell."""
    found: list[dict[str, object]] = []
    for field in dataclasses.fields(settings):
        row: dict[str, object] = {"setting": _dotted(field.name), "value": getattr(settings, field.name)}
        if origins is not None:
            row["origin"] = origins[field.name]
        found.append(row)
    return found


def to_toml(settings: _Dataclass) -> str:
    """The file that `load` reads back, in sections; strings, numbers, booleans and paths only."""
    sections: dict[str, list[str]] = {}
    for field in dataclasses.fields(settings):
        section, _, key = field.name.partition("_")
        value = getattr(settings, field.name)
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, int | float):
            text = str(value)
        else:
            # A JSON string is a TOML string, but for DEL, which only TOML escapes.
            text = json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        sections.setdefault(section, []).append(f"{key} = {text}")
    return "\n\n".join(f"[{section}]\n" + "\n".join(lines) for section, lines in sections.items()) + "\n"
