"""One step from the LQ latent: D3SR, and its relatives OSEDiff and HYPIR."""

from sdsr.methods.facts import RecipeFacts, by_name

FACTS = by_name(
    __name__,
    RecipeFacts(
        name="d3sr-small",
        paper="arXiv:2410.04224",
        summary="The default: one step, crisp edges, offline, about a second for a small photo.",
        prior="small",
        steps=1,
    ),
    RecipeFacts(
        name="d3sr",
        paper="arXiv:2410.04224",
        summary="One step from the LQ latent by Stable Diffusion 2.1 with low-rank updates.",
        prior="sd-2.1-base",
        steps=1,
    ),
    RecipeFacts(
        name="osediff",
        paper="arXiv:2406.08177",
        summary="OSEDiff's generator, for its published weights; one step, told what the photo shows.",
        prior="sd-2.1-base",
        steps=1,
    ),
    RecipeFacts(
        name="hypir",
        paper="arXiv:2507.20590",
        summary="HYPIR's generator, for its published weights; one step, told what the photo shows.",
        prior="sd-2.1-base",
        steps=1,
    ),
)

CONVERTERS = ("d3sr", "osediff", "hypir")
"""What `PUBLISHED` of `published.py` has, without torch."""
