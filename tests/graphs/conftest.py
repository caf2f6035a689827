"""The embedded default by its graphs and by torch, and a photo."""

from pathlib import Path

import numpy as np
import pytest

from sdsr.engines import load_model
from sdsr.jobs import JobMaker
from sdsr.models import DEFAULT_MODEL
from sdsr.photos.files import Photo, read_photo

SAMPLE = Path(__file__).parents[2] / "sdsr" / "assets" / "sample.jpg"


@pytest.fixture(scope="session")
def by_graphs() -> JobMaker:
    return load_model(DEFAULT_MODEL, engine="onnx")


@pytest.fixture(scope="session")
def by_torch() -> JobMaker:
    """In float32, as the graphs compute, whatever this processor would choose."""
    import torch

    from sdsr.checkpoints.weights import fill_restorer
    from sdsr.models import find_model
    from sdsr.prior.loading import load_prior
    from sdsr.upscaling import Upscaler

    found = find_model(DEFAULT_MODEL)
    recipe = found.recipe()
    assert recipe.method is not None
    restorer = recipe.method.build(load_prior(found.prior(recipe), device="cpu", dtype=torch.float32))
    fill_restorer(restorer, found.folder)
    return Upscaler(recipe, restorer, weights_sha256=found.weights_sha256).maker


@pytest.fixture(scope="session")
def photo() -> Photo:
    """A part of the sample photo, 60 x 36."""
    whole = read_photo(SAMPLE)
    return Photo(pixels=np.ascontiguousarray(whole.pixels[40:76, 30:90]), traits=whole.traits)
