"""Settings of a recipe or stage by their dotted names, as a command line or a file of settings gives them."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, cast

from sdsr.errors import InputError


def with_settings(value: Any, settings: Mapping[str, Any]) -> Any:
    """Return the dataclass with leaves changed, {"optimizer.learning_rate": 1e-4}; an unknown key is an InputError."""
    for path, new in settings.items():
        value = _changed(value, path.split("."), new, path)
    return value


def _changed(value: Any, keys: list[str], new: Any, path: str) -> Any:
    names = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    if keys[0] not in names:
        nearest = difflib.get_close_matches(keys[0], names, n=1, cutoff=0.0)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "; it holds no further settings."
        raise InputError(f"setting (={path}) has no {keys[0]!r} in {type(value).__name__}{hint}")
    old = getattr(value, keys[0])
    inner = _changed(old, keys[1:], new, path) if keys[1:] else _like(old, new, path)
    return dataclasses.replace(cast(Any, value), **{keys[0]: inner})


def _like(old: Any, new: Any, path: str) -> Any:
    """Return `new`, read as the type of `old` where it came as text from a command line."""
    if not isinstance(new, str) or isinstance(old, str):
        return new
    if old is None:
        return None if new == "none" else new
    if isinstance(old, bool):
        if new not in ("true", "false"):
            raise InputError(f"setting {path} (={new}) must be true or false.")
        return new == "true"
    if isinstance(old, tuple):
        return tuple(_like(old[0], part, path) for part in new.split(",")) if old else tuple(new.split(","))
    try:
        return type(old)(new)
    except (TypeError, ValueError) as error:
        raise InputError(f"setting {path} (={new}) must be a {type(old).__name__}.") from error
