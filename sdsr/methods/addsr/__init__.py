"""SeeSR, and AddSR, which distills it to one to four steps."""

from sdsr.methods.facts import RecipeFacts, by_name

FACTS = by_name(
    __name__,
    RecipeFacts(
        name="seesr",
        paper="arXiv:2311.16518",
        summary="ControlNet and image attention to tags on Stable Diffusion 2; 50 guided steps.",
        prior="sd-2-base",
        steps=50,
    ),
    RecipeFacts(
        name="seesr-small",
        paper="arXiv:2311.16518",
        summary="SeeSR on the embedded prior; 10 guided steps, slower than d3sr-small.",
        prior="small",
        steps=10,
    ),
    RecipeFacts(
        name="addsr",
        paper="arXiv:2404.01717",
        summary="SeeSR distilled to one to four steps that look back at their own result.",
        prior="sd-2-base",
        steps=4,
    ),
    RecipeFacts(
        name="addsr-small",
        paper="arXiv:2404.01717",
        summary="AddSR on the embedded prior; 1 to 4 steps, slower than d3sr-small.",
        prior="small",
        steps=4,
    ),
)

CONVERTERS = ("seesr", "addsr")
"""What `PUBLISHED` of `published.py` has, without torch."""
