"""The fixed prompts of the methods, as published."""

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


_DEFECTS = "dotted, noise, blur, lowres, smooth"
_INVSR = (
    "Cinematic, high-contrast, photo-realistic, 8k, ultra HD, meticulous detailing, hyper sharpness, "
    "perfect without deformations"
)

PROMPTS = {
    "consissr": Prompts(positive="clean, high-resolution, 8k", negative=_DEFECTS),
    "stablesr": Prompts(),
    # optional with its deterministic sampler and guidance 7
    "stablesr_guided": Prompts(
        positive="(masterpiece:2), (best quality:2), (realistic:2), (very clear:2)",
        negative="3d, cartoon, anime, sketches, (worst quality:2), (low quality:2)",
    ),
    "seesr": Prompts(positive="clean, high-resolution, 8k", negative=_DEFECTS, tagged=True),
    "addsr": Prompts(positive="clean, high-resolution, 8k, extremely detailed, best quality, sharp", tagged=True),
    "invsr": Prompts(
        training=_INVSR,
        positive=_INVSR,
        # the space missing after "noisy," is missing in the published text too
        negative="Low quality, blurring, jpeg artifacts, deformed, over-smooth, cartoon, noisy,painting, drawing, "
        "sketch, oil painting",
    ),
    # a constant embedding, not a text, in the paper; it starts from that of the empty text
    "d3sr": Prompts(),
    # tags alone; in training those of the HQ photo
    "osediff": Prompts(tagged=True),
    # in training and in use a description, which may be empty
    "hypir": Prompts(),
}

SMALL_PROMPTS = Prompts(positive="clean", negative="degraded")
"""What any method says to a prior that knows these words only, in training none."""


def prompts_of(method: str, vocabulary: tuple[str, ...] | None) -> Prompts:
    """Return the prompts of a method for a prior with this vocabulary (None: all of language).

    Say so where tags of the photo should precede them: the tagger's vocabulary is in no file of weights, so there are
    none.
    """
    said = PROMPTS[method] if vocabulary is None else SMALL_PROMPTS
    if said.tagged:
        log.warning("%s: prompts go without the photo's tags as words; --prompt can say what is on it", method)
    return said
