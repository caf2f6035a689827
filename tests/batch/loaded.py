"""A method that is loaded already, as batches take one."""

import hashlib

from sdsr.batch.model import Model
from sdsr.prior.weight_files import module_sha256
from sdsr.upscaling import Upscaler


def model_of(upscaler: Upscaler) -> Model:
    """Return the method of an upscaler, known by its weights."""
    weights = upscaler.restorer.prior.sha256, module_sha256(upscaler.restorer.parts.modules)
    known = repr((upscaler.recipe.name, upscaler.recipe.color_fix, *weights))
    sha256 = hashlib.sha256(known.encode()).hexdigest()
    return Model(name=upscaler.recipe.name, sha256=sha256, load=lambda: upscaler.maker)
