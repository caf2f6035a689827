"""The exceptions a caller can act on. Each message says what, the offending value, the limit, the remedy."""

from collections.abc import Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


class SdsrError(Exception):
    """Base of everything this library raises on purpose."""


class InputError(SdsrError, ValueError):
    """What was given can't be used: a photo, an argument, a recipe key."""


class LimitError(InputError):
    """The work asked for exceeds a stated limit of pixels or memory; nothing was decoded or computed."""


class OutputError(SdsrError, OSError):
    """The result could not be written, or what was written could not be verified; no partial file is left."""


class ResultError(OutputError):
    """What was restored can't be right, and was not written."""


class ModelError(SdsrError):
    """Weights are missing, damaged, or belong to another prior or version."""


class CancelledError(SdsrError):
    """The work was given up because somebody asked for that; nothing was written."""


def look_up(
    table: Mapping[str, Entry], name: str, what: str, remedy: str = "", *, error: type[SdsrError] = InputError
) -> Entry:
    """Return the entry of that name; raise an error that says what the name is of, and which there are.

    >>> look_up({"bf16": 2, "no": 4}, "no", "precision")
    4
    """
    if name not in table:
        raise error(f"{what} (={name}) must be one of {', '.join(table)}{remedy}.")
    return table[name]
