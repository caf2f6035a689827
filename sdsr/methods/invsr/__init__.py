"""InvSR: predicted noise and one to five steps."""

from sdsr.methods.facts import RecipeFacts, by_name

FACTS = by_name(
    __name__,
    RecipeFacts(
        name="invsr",
        paper="arXiv:2412.09013",
        summary="SD-Turbo in one to five steps from a predicted noise; the published predictor fits.",
        prior="sd-turbo",
        steps=1,
    ),
    RecipeFacts(
        name="invsr-small",
        paper="arXiv:2412.09013",
        summary="InvSR on the embedded prior; 1 to 5 steps, at least twice as slow as d3sr-small.",
        prior="small",
        steps=1,
    ),
    RecipeFacts(
        name="small-latent-perceptual",
        summary="The network that stands in for LPIPS on the embedded prior's latents.",
        prior="small",
    ),
    RecipeFacts(
        name="latent-perceptual",
        summary="InvSR's LPIPS on SD-Turbo's latents, trained by a recipe of ours.",
        prior="sd-turbo",
    ),
)

CONVERTERS = ("invsr",)
"""What `PUBLISHED` of `published.py` has, without torch."""
