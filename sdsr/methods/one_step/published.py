"""The published checkpoints of one-step generators."""

from sdsr.methods.one_step.convert import convert, convert_hypir
from sdsr.methods.one_step.convert_osediff import convert as convert_osediff
from sdsr.methods.one_step.recipes import D3SR, HYPIR, OSEDIFF

PUBLISHED = {
    "d3sr": D3SR.published(convert=convert, parts=("lora", "prompt")),
    "osediff": OSEDIFF.published(convert=convert_osediff, parts=("lora", "encoder_lora", "first_layer")),
    "hypir": HYPIR.published(convert=convert_hypir, parts=("lora",)),
}
