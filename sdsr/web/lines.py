"""Messages between processes: one JSON object a line, so that neither side runs what the other sends."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any, TypedDict

from sdsr.photos.formats import Format

Message = Mapping[str, Any]
"""What one line holds; each side knows the fields of what it is sent."""


class JobWishes(TypedDict):
    """What is wished of a photo, as it is kept and sent: `region` [left, top, width, height], `size` [width, height].

    `request` has fields of a `Request`, places to protect as they are typed.
    """

    model: str
    request: dict[str, object]
    format: Format | None
    quality: int | None
    region: list[int] | None
    size: list[int]


class Outcome(TypedDict):
    """What is said of a result, in the job's folder, by the process that made it; `size` is [width, height]."""

    file: str
    format: Format
    bytes: int
    size: list[int]
    seconds: float
    model: str
    steps: int
    seed: int
    chosen: str | None
    consistency_db: float | None
    contradicts: bool


class Channel:
    """The child's end. Messages come on standard input; whatever libraries print goes to standard error."""

    def __init__(self) -> None:
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self.lock = Lock()

    def send(self, **message: object) -> None:
        """Send a message; from any thread."""
        with self.lock:
            self.out.write(json.dumps(message) + "\n")
            self.out.flush()

    def messages(self) -> Iterator[Message]:
        """Yield what comes, until the other side is gone."""
        for line in sys.stdin:
            yield json.loads(line)
