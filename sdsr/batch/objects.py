"""JSON objects that other processes wrote, maybe not to the end, and whatever else is found in their places."""

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_DECODER = json.JSONDecoder()


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object of some bytes; ValueError for anything else."""
    text = data.decode()
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict) or text[end:].strip():
        raise ValueError("no JSON object")
    return value


def known_fields(kind: type["DataclassInstance"], data: bytes) -> dict[str, Any]:
    """Return what a JSON object says of a dataclass's fields; what a later version added is no matter.

    Raises ValueError for what is no object, or says less.
    """
    found = parse_object(data)
    try:
        return {field.name: found[field.name] for field in fields(kind)}
    except KeyError as error:
        raise ValueError(f"says no {error}") from error


def text_of(value: object) -> str:
    """Return a value that must be text; TypeError where it isn't."""
    if not isinstance(value, str):
        raise TypeError(f"no text (={value!r:.40})")
    return value


def number_of(value: object) -> float | int:
    """Return a value that must be a number; TypeError where it isn't."""
    if not isinstance(value, float | int):
        raise TypeError(f"no number (={value!r:.40})")
    return value
