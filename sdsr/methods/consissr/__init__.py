"""ConsisSR: a ControlNet, hybrid attention, and noisy latents that begin at the LQ latent."""

from sdsr.methods.facts import RecipeFacts, by_name

FACTS = by_name(
    __name__,
    RecipeFacts(
        name="consissr",
        paper="arXiv:2410.13807",
        summary="ControlNet, Hybrid Prompt Adapter and TALA on Stable Diffusion 2.1; 50 guided steps.",
        prior="sd-2.1-base",
        steps=50,
    ),
    RecipeFacts(
        name="consissr-published",
        paper="arXiv:2410.13807",
        summary="The network that the authors' checkpoint fits, for `sdsr convert consissr`.",
        prior="sd-2.1-base",
        steps=50,
    ),
    RecipeFacts(
        name="consissr-small",
        paper="arXiv:2410.13807",
        summary="ConsisSR on the embedded prior; 10 guided steps, slower than d3sr-small.",
        prior="small",
        steps=10,
    ),
)

CONVERTERS = ("consissr",)
"""What `PUBLISHED` of `published.py` has, without torch."""
