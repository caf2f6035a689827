"""Where memory really runs out, inside of a network, a photo is begun again in smaller windows, and that is told."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image as pillow

from sdsr.batch.restoring import restore
from sdsr.batch.settings import Settings
from sdsr.errors import LimitError
from sdsr.methods import METHODS
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


@pytest.fixture(params=[host, accelerator, python])
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
