"""Where memory runs out while pixels are encoded or decoded: the same again in smaller tiles, and a word of it.

Tiles are computed with all the context that the autoencoder sees, so that smaller ones make the same picture; one that
normalises over the picture takes the statistics of a smaller sample.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sdsr.errors import LimitError
from sdsr.restoration.protocol import Restoring

TILE_PX = 1024
"""The side of the tiles that a result comes in."""

LEAST_TILE_PX = 128
"""With less, nearly all that is computed is context."""

OnNote = Callable[[str], None]
Restorer = TypeVar("Restorer", bound=Restoring[Any, Any])
Value = TypeVar("Value")

_log = logging.getLogger(__name__)


def in_smaller_tiles(
    restorer: Restorer, run: Callable[[Restorer], Iterator[Value]], on_note: OnNote | None = None
) -> Iterator[Value]:
    """Yield what `run` does with the restorer, and where memory runs out, all of it again with one in half the tiles.

    `on_note` is told in words. Raises LimitError where tiles can't be smaller.
    """
    while True:
        try:
            yield from run(restorer)
            return
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
        # outside, where what the error holds of the attempt is let go
        restorer = _halved(restorer, on_note)


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory was not enough, on the host or on an accelerator."""
    torch = sys.modules.get("torch")
    kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def _halved(restorer: Restorer, on_note: OnNote | None) -> Restorer:
    side = restorer.tile_px
    smaller = side // 2 // restorer.factor * restorer.factor
    if smaller < LEAST_TILE_PX:
        raise LimitError(f"memory ran out with tiles of {side} px, the smallest; enlarge less, or free memory.")
    _log.warning("memory ran out: trying again in tiles of %d px instead of %d.", smaller, side)
    if on_note is not None:
        on_note(f"tiles of {smaller} px, as memory ran out")
    return restorer.in_tiles(smaller)
