"""Remarks on a photo that is being read or written: each line names its file, whichever module it comes from."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_name: ContextVar[str] = ContextVar("name", default="")


class Remarks(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with the name that `about` gave."""

    def __init__(self, module: str) -> None:
        super().__init__(logging.getLogger(module))

    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """Return the message with the name before it."""
        name = _name.get()
        return (f"{name.replace('%', '%%')}: {msg}" if name else msg), kwargs


@contextmanager
def about(name: str) -> Iterator[None]:
    """Let remarks made in this block, in this thread, name what they are about; the outermost name counts."""
    token = _name.set(_name.get() or name)
    try:
        yield
    finally:
        _name.reset(token)
