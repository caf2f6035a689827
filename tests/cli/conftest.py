"""What tests of commands share."""

from pathlib import Path

import pytest

from sdsr.methods import METHODS
from sdsr.upscaling import Upscaler


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A method's folder that names the tiny prior."""
    folder, recipe = tmp_path_factory.mktemp("models") / "tiny-method", METHODS["d3sr-small"]
    assert recipe.method is not None
    Upscaler(recipe, recipe.method.build("tiny")).save_pretrained(folder)
    return folder
