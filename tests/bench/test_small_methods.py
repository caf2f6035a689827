"""The methods as they were before they had a decoder of their own, which the picture of both shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.small_methods import MODELS, STABLESR, old_upscaler
from sdsr.methods import METHODS
from sdsr.methods.guided_decoding import DECODER
from sdsr.upscaling import Upscaler


@pytest.mark.parametrize("name", ["seesr-small", "stablesr-small"])
def test_weights_of_before_restore_as_they_did(name: str, tmp_path: Path) -> None:
    assert name in MODELS
    method = STABLESR if name == "stablesr-small" else replace(METHODS[name].method, decoder=None)
    Upscaler(METHODS[name], method.build("small")).save_pretrained(tmp_path / name)
    old = old_upscaler(name, tmp_path)
    assert DECODER not in old.restorer.parts.modules
    assert old.recipe.color_fix == "wavelet"
    assert len(old.plan().times) == 50
