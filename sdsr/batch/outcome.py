"""What became of a photo."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sdsr.errors import InputError, LimitError, OutputError, ResultError

Kind = Literal["photo", "limit", "result", "output", "system"]
Status = Literal["done", "skipped", "failed"]
KINDS: dict[Kind, str] = {
    "photo": "can't be read, or is no photo",
    "limit": "too large for a limit or the memory",
    "result": "restored, but not as it must be",
    "output": "can't be written",
    "system": "the operating system refused",
}
"""The kinds of failure, and what each means."""
_KIND_OF: Mapping[type[Exception], Kind] = {
    LimitError: "limit",  # before InputError, which it is, too; and so with the next two
    InputError: "photo",
    ResultError: "result",
    OutputError: "output",
    Exception: "system",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one photo; `size` is the result's (width, height), `chosen` what was chosen for it, and why.

    `again` says why a photo that had a result was restored again; `kind` (of KINDS) and `error`, why it failed. A photo
    was skipped as `labeled` if it is itself the result of an earlier run.
    """

    input: str
    output: str
    status: Status
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    model: str
    seed: int
    chosen: str | None = None
    again: str | None = None
    kind: Kind | None = None
    error: str | None = None
    labeled: bool = False


def complaint(photo: str, error: str) -> str:
    """Return a failure with the photo's path, which errors that begin with its name are lent once.

    >>> complaint("in/a.gif", "a.gif is a GIF"), complaint("in/a.png", "no memory is left")
    ('in/a.gif is a GIF', 'in/a.png: no memory is left')
    """
    name = photo.replace("\\", "/").rpartition("/")[2]
    return f"{photo}{error.removeprefix(name)}" if error.startswith(f"{name} ") else f"{photo}: {error}"


def kind_of(error: Exception) -> Kind:
    """Return the kind of a failure."""
    return next(kind for of, kind in _KIND_OF.items() if isinstance(error, of))
