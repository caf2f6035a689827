"""Settings of a recipe or stage by their dotted names, as a command line or a file of settings gives them."""

import dataclasses
import difflib
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sdsr.errors import InputError
from sdsr.methods.limits import check_numbers

Value = TypeVar("Value")
_KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def with_settings(value: Value, settings: Mapping[str, object]) -> Value:
    """Return the dataclass with leaves changed, {"optimizer.learning_rate": 1e-4}; text is read as the leaf's type.

    A member of a tuple is called by its name, {"objective.terms.image.weight": 0.5}.
    Raise InputError for an unknown key, with the nearest one, and for what is not of the type or beyond its limit.
    """
    for path, new in settings.items():
        value = _changed(value, path.split("."), new, path)
    return value


def _changed(value: Value, keys: list[str], new: object, path: str) -> Value:
    if isinstance(value, tuple):
        return _changed_member(value, keys, new, path)  # pyright: ignore[reportReturnType]  (with the same members)
    names = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    _check_name(keys[0], names, value, path)
    if keys[1:]:
        inner = _changed(getattr(value, keys[0]), keys[1:], new, path)
    else:
        inner = _read(new, get_type_hints(type(value))[keys[0]], path)
        check_numbers(inner, path)
    return dataclasses.replace(value, **{keys[0]: inner})  # pyright: ignore[reportArgumentType]  (it has that field)


def _changed_member(members: tuple[object, ...], keys: list[str], new: object, path: str) -> tuple[object, ...]:
    names = [getattr(member, "name", "") for member in members]
    _check_name(keys[0], names, members, path)
    if not keys[1:]:
        raise InputError(f"setting (={path}) names several values; name one of them, as {path}.weight.")
    place = names.index(keys[0])
    return (*members[:place], _changed(members[place], keys[1:], new, path), *members[place + 1 :])


def _check_name(name: str, names: list[str], holder: object, path: str) -> None:
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "; it holds no further settings."
        raise InputError(f"setting (={path}) has no {name!r} in {type(holder).__name__}{hint}")


def _read(new: object, hint: object, path: str) -> object:
    """Return `new` as what a leaf of this type holds; text is parsed, other values are only compared with the type."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if NoneType in kinds and (new is None or new == "none"):
        return None
    reasons = []
    for kind in kinds:
        try:
            return _read_one(new, kind, path)
        except InputError as error:
            reasons.append(error)
    raise reasons[0]


def _read_one(new: object, kind: object, path: str) -> object:
    if get_origin(kind) is tuple:
        return _tuple(new, get_args(kind), path)
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        if new not in allowed:
            raise InputError(f"setting {path} (={new}) must be one of {', '.join(map(str, allowed))}.")
        return new
    if isinstance(kind, type) and kind in _KINDS:
        return _plain(new, kind, path)
    if isinstance(new, str | int | float):
        raise InputError(f"setting {path} (={new}) must be a {_name(kind)}, which only Python code can give.")
    return new


def _plain(new: object, kind: type, path: str) -> object:
    if isinstance(new, kind) and not (kind is int and isinstance(new, bool)):
        return new
    if kind is bool and new in ("true", "false"):
        return new == "true"
    if kind is float and type(new) is int:
        return float(new)
    try:
        if isinstance(new, str) and kind in (int, float):
            return kind(new)
    except ValueError:
        pass
    raise InputError(f"setting {path} (={new}) must be {_KINDS[kind]}.")


def _tuple(new: object, kinds: tuple[object, ...], path: str) -> tuple[object, ...]:
    parts = (new.split(",") if new else []) if isinstance(new, str) else new
    if not isinstance(parts, list | tuple):
        raise InputError(f"setting {path} (={new}) must be a list.")
    endless = kinds[-1] is Ellipsis
    if not endless and len(parts) != len(kinds):
        raise InputError(f"setting {path} (={new}) must have {len(kinds)} values, separated by commas.")
    return tuple(_read(part, kinds[0] if endless else kinds[place], path) for place, part in enumerate(parts))


def _name(kind: object) -> str:
    return getattr(kind, "__name__", str(kind))
