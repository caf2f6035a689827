"""StableSR: SFT features that know the time, and a decoder that takes details of the photo."""

from sdsr.methods.facts import RecipeFacts, by_name

FACTS = by_name(
    __name__,
    RecipeFacts(
        name="stablesr",
        paper="arXiv:2305.07015",
        summary="Time-aware SFT features modulate Stable Diffusion 2.1; 200 steps; "
        "the decoder takes details of the photo.",
        prior="sd-2.1-base",
        steps=200,
    ),
    RecipeFacts(
        name="stablesr-768v",
        paper="arXiv:2305.07015",
        summary="StableSR for 768 px on the prior that predicts velocity; 200 steps.",
        prior="sd-2.1",
        steps=200,
    ),
    RecipeFacts(
        name="stablesr-turbo",
        paper="arXiv:2305.07015",
        summary="StableSR's parts, as they are, on SD-Turbo; 4 steps.",
        prior="sd-turbo",
        steps=4,
    ),
    RecipeFacts(
        name="stablesr-small",
        paper="arXiv:2305.07015",
        summary="StableSR on the embedded prior; 10 steps, slower than d3sr-small.",
        prior="small",
        steps=10,
    ),
)

CONVERTERS = ("stablesr", "stablesr-768v", "stablesr-turbo", "stablesr-cfw")
"""What `PUBLISHED` of `published.py` has, without torch."""
