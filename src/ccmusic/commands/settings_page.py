"""docs/settings.md: every setting, written from the settings' own fields, so that the page cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ccmusic.alerting.settings import PREFIX, BridgeSettings
from ccmusic.settings import Settings

SECTIONS = {
    "host": "Listening",
    "max_connections_per_client": "Clients",
    "model": "Model",
    "admin_token": "Administration",
    "workers": "Work",
    "heartbeat_seconds": "Supervision",
    "max_request_bytes": "Limits of requests",
    "max_upload_bytes": "Limits of a recording",
}
"""Headings of the page, each by the first field of its section."""

HEAD = """# Settings

Written by `ccmusic settings --markdown` from the settings themselves. `ccmusic settings` prints the present values.

A setting is an environment variable, or a key of a TOML file that `CCMUSIC_CONFIG` names; the key is the variable's
name without `CCMUSIC_`, in small letters. A flag of the command line is used before a variable, a variable before the
file, and the file before the default. Everything is checked at the start: a value that is not allowed or a name that
does not exist ends the program with exit code 3, and the message names it.
"""

BRIDGE_HEAD = """
## The bridge to WeCom

`ccmusic wecom-bridge` is a program of its own, with variables of its own. Each is also a flag, such as
`--robot-url-file`.
"""

COMPUTED_DEFAULTS = {"workers": "one per core", "model_cache": "`~/.cache/ccmusic`"}
"""Defaults that depend on the machine."""

_TYPES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", SecretStr: "text"}


def settings_page() -> str:
    """Describe every setting of the service and of the bridge in Markdown."""
    page = HEAD
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            page += f"\n## {SECTIONS[name]}\n\n{_TABLE}"
        page += _row("CCMUSIC_", name, field)
    page += BRIDGE_HEAD + "\n" + _TABLE
    return page + "".join(_row(PREFIX, name, field) for name, field in BridgeSettings.model_fields.items())


_TABLE = "| variable | value | default | meaning |\n|---|---|---|---|\n"


def _row(prefix: str, name: str, field: FieldInfo) -> str:
    value = "".join([_type(field.annotation), *_bounds(field)])
    return f"| `{prefix}{name.upper()}` | {value} | {_default(name, field)} | {field.description} |\n"


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) in (UnionType, Union):  # X | None: None means that the setting is not set
        (annotation,) = (kind for kind in get_args(annotation) if kind is not NoneType)
        return _type(annotation)
    if get_origin(annotation) is tuple:
        return "texts with commas between them"
    if hasattr(annotation, "__metadata__"):
        return _type(annotation.__origin__)
    return _TYPES[annotation]


def _bounds(field: FieldInfo) -> Iterator[str]:
    for inner in get_args(field.annotation):  # of `Port | None`
        yield from (text for item in getattr(inner, "__metadata__", ()) for text in _bounds(item))
    bounds = {
        name: getattr(item, name) for item in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    signs = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    yield from (
        f", {signs[name]} {value:,}" if name in ("ge", "gt") else f" {signs[name]} {value:,}"
        for name, value in bounds.items()
    )


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if name in COMPUTED_DEFAULTS:
        return COMPUTED_DEFAULTS[name]
    if field.default in (None, (), ""):
        return "not set"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
