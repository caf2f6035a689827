"""InvSR's published checkpoint."""

from sdsr.methods.invsr.convert import convert
from sdsr.methods.invsr.recipes import INVSR

PUBLISHED = {"invsr": INVSR.published(convert=convert, parts=("noise_predictor",))}
