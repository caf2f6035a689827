"""Where memory really runs out, inside of a network, it is done again with less at once, and that is told."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image as pillow

from sdsr.batch.restoring import restore
from sdsr.batch.settings import Settings
from sdsr.errors import LimitError
from sdsr.methods import METHODS
from sdsr.methods.guided_decoding import DecoderSettings
from sdsr.methods.one_step.small import SmallOneStep
from sdsr.photos.photo import Photo
from sdsr.upscaling import Request, Upscaler

RECIPE = METHODS["d3sr-small"]
TOO_MUCH = 1 << 50
"""Bytes that no machine has, so that torch really says no."""


def host(cells: int) -> None:
    torch.empty(TOO_MUCH, dtype=torch.uint8)


def accelerator(cells: int) -> None:
    raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {cells} bytes.")


def python(cells: int) -> None:
    np.empty(TOO_MUCH, np.uint8)  # raises numpy's MemoryError


KINDS = [host, accelerator, python]


@pytest.fixture(params=KINDS)
def bounded(upscaler: Upscaler, request: pytest.FixtureRequest):
    """Windows of more than 16 cells a side are too large for the network; which ones were tried."""
    seen: list[int] = []

    def before(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(args[0].shape[-1])
        if seen[-1] > 16:
            request.param(seen[-1])

    handle = upscaler.restorer.prior.unet.register_forward_pre_hook(before)
    yield seen
    handle.remove()


def test_a_photo_is_begun_again_in_smaller_windows(upscaler, bounded, photo, caplog, tmp_path):
    pixels = (255 * photo[0, :, :40, :40].permute(1, 2, 0).numpy()).astype(np.uint8)
    with caplog.at_level(logging.WARNING):
        result = upscaler.upscale(Photo(pixels=pixels), Request(scale=4))
    assert result.size == (160, 160)
    assert bounded[0] > 16 >= bounded[-1]
    assert "memory ran out: trying again in windows of" in caplog.text
    tried = [cells for cells in bounded if cells > 16]
    assert len(tried) == len(set(tried)), "no size is tried twice"

    pillow.fromarray(pixels).save(tmp_path / "photo.png")
    restored = restore(tmp_path / "photo.png", upscaler.maker, Settings(), format=None)
    assert restored.chosen is not None
    assert "as memory ran out" in restored.chosen


def test_where_windows_cannot_be_smaller_it_is_an_error(upscaler):
    handle = upscaler.restorer.prior.unet.register_forward_pre_hook(lambda module, args: host(0))
    try:
        with pytest.raises(LimitError, match="the smallest; enlarge less, or free memory"):
            upscaler(np.zeros((16, 16, 3), np.uint8), scale=4)
    finally:
        handle.remove()


def _end(upscaler: Upscaler, name: str) -> torch.nn.Module:
    """What encodes, or decodes, latents of 8 px to a cell."""
    parts = upscaler.restorer
    return (
        parts.parts.modules["decoder"]
        if name == "decoder"
        else parts.prior.autoencoder.model.get_submodule("encoder.linear")
    )


@pytest.fixture(scope="module")
def painter() -> Upscaler:
    """With a decoder that is small enough for many pixels, in tiles that need not many."""
    method = SmallOneStep(decoder=DecoderSettings(width=8, blocks=1), encoder="linear")
    return Upscaler(RECIPE, method.build("tiny").in_tiles(512))


@pytest.mark.parametrize(("end", "run_out"), [("encoder", host), ("decoder", python)])
def test_pixels_are_made_again_in_smaller_tiles(painter, photo, end, run_out, caplog, tmp_path):
    """All that is sampled stays, and the picture is the one that larger tiles make."""
    pixels = (255 * photo[0, :, :40, :40].permute(1, 2, 0).numpy()).astype(np.uint8)
    pillow.fromarray(pixels).save(tmp_path / "photo.png")
    settings = Settings(request=Request(scale=8))
    maker = painter.maker
    whole = restore(tmp_path / "photo.png", maker, settings, format=None)
    assert whole.chosen is None
    passes, sizes = [], []

    def before(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        sizes.append(8 * args[0].shape[-1])
        if sizes[-1] > 330:
            run_out(sizes[-1])

    handles = [
        _end(painter, end).register_forward_pre_hook(before),
        painter.restorer.prior.unet.register_forward_pre_hook(lambda *_: passes.append(1)),
    ]
    try:
        with caplog.at_level(logging.WARNING):
            restored = restore(tmp_path / "photo.png", maker, settings, format=None)
    finally:
        for handle in handles:
            handle.remove()
    assert sizes[0] > 330 >= sizes[-1]
    assert len(passes) == len(maker.job(Photo(pixels=pixels), settings.request).windows), "nothing is sampled twice"
    assert restored.chosen == "tiles of 256 px, as memory ran out"
    assert "memory ran out: trying again in tiles of 256 px instead of 512" in caplog.text
    assert np.abs(restored.result.pixels.astype(int) - whole.result.pixels).max() <= 1


@pytest.mark.parametrize("end", ["encoder", "decoder"])
def test_where_tiles_cannot_be_smaller_it_is_an_error(painter, end):
    tried: list[int] = []
    handle = _end(painter, end).register_forward_pre_hook(lambda module, args: (tried.append(1), python(0)))
    try:
        with pytest.raises(
            LimitError, match="memory ran out with tiles of 128 px, the smallest; enlarge less, or free"
        ):
            painter(np.zeros((16, 16, 3), np.uint8), scale=4)
    finally:
        handle.remove()
    assert len(tried) == 3
