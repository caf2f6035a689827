"""What is done where memory runs out in a restoration: it is begun again, in windows of half the memory."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sdsr.errors import LimitError
from sdsr.request import Request
from sdsr.restoration.tiles import ran_out

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def in_smaller_windows(
    request: Request,
    run: Callable[[Request], Result],
    *,
    least_bytes: int,
    window_bytes: Callable[[Request], int],
) -> tuple[Result, str | None]:
    """Run with a request, and where memory runs out, again and again with half the memory for windows.

    `window_bytes` is what a request's windows need, `least_bytes` what the smallest do. Return the result, and what was
    done in words, None where memory sufficed. Raises LimitError where windows can't be smaller.
    """
    note = None
    while True:
        try:
            return run(request), note
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
        # outside, where what the error holds of the attempt is let go
        request = _halved(request, least_bytes, window_bytes(request))
        note = f"smaller windows ({mib(request.memory_bytes or 0)}), as memory ran out"


def chosen_with(chosen: str | None, *notes: str | None) -> str | None:
    """Return what was chosen for a photo, with what memory made of it."""
    return "; ".join(filter(None, (chosen, *notes))) or None


def _halved(request: Request, least_bytes: int, now: int) -> Request:
    """Return the request with half of the memory that its windows need now."""
    if now // 2 < least_bytes:
        raise LimitError(f"memory ran out with windows of {mib(now)}, the smallest; enlarge less, or free memory.")
    _log.warning("memory ran out: trying again in windows of %s instead of %s.", mib(now // 2), mib(now))
    return replace(request, memory_bytes=now // 2)


def mib(amount: int) -> str:
    """Return an amount of memory in words."""
    return f"{amount / 2**20:.0f} MiB"
