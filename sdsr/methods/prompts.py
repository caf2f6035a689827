"""The fixed prompts of a method, and those of any method on a prior that knows few words."""

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What a method is told while it trains, and while it restores.

    Where `tagged`, the tags of the photo and a comma precede `positive`. `negative` is guidance's other side; it is
    empty where the method is published without guidance.
    """

    training: str = ""
    positive: str = ""
    negative: str = ""
    tagged: bool = False


SMALL_PROMPTS = Prompts(positive="clean", negative="degraded")
"""What any method says to a prior that knows these words only, in training none."""


def prompts_of(own: Prompts, vocabulary: tuple[str, ...] | None) -> Prompts:
    """Return a method's own prompts, or those for a prior with this vocabulary (None: all of language).

    Say so where tags of the photo should precede them: the tagger's vocabulary is in no file of weights, so there are
    none.
    """
    said = own if vocabulary is None else SMALL_PROMPTS
    if said.tagged:
        log.warning("prompts go without the photo's tags as words; --prompt can say what is on it")
    return said
