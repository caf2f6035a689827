"""ConsisSR's published checkpoint."""

from sdsr.methods.consissr.checks import examine
from sdsr.methods.consissr.convert import convert
from sdsr.methods.consissr.recipes import CONSISSR_PUBLISHED

PUBLISHED = {
    "consissr": CONSISSR_PUBLISHED.published(
        convert=convert,
        parts=("controlnet", "control_hybrid", "hybrid", "image_prompt", "image_encoder"),
        examine=examine,
    ),
}
