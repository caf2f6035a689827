"""A method on the tiny prior, ready to restore, and its folder; and accelerate as a new process finds it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sdsr.upscaling import Upscaler


@pytest.fixture(scope="session")
def upscaler() -> "Upscaler":
    """The small one-step method; whoever changes it makes one of his own."""
    from sdsr.methods import METHODS
    from sdsr.upscaling import Upscaler

    recipe = METHODS["d3sr-small"]
    assert recipe.method is not None
    return Upscaler(recipe, recipe.method.build("tiny"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, upscaler: "Upscaler") -> Path:
    """That method's folder, which names the tiny prior."""
    folder = tmp_path_factory.mktemp("models") / "tiny-method"
    upscaler.save_pretrained(folder)
    return folder


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps its state for the process; a test that asks for this is a process of its own to it."""
    from accelerate.state import AcceleratorState, GradientState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
