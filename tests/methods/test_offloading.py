"""Every method with weights that come in turn: the same picture, no more of them there than is said, all on one device.

Bytes are compared on the CPU, which is a device to itself then. Where tensors are is seen on "meta", which computes
nothing, but is another device than the CPU, where the weights are at home.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sdsr.diffusion.noise import CanvasNoise
from sdsr.methods import METHODS
from sdsr.methods.recipe import Recipe
from sdsr.prior import offloading as mechanism
from sdsr.prior.offloading import Offloading
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.placing import offloading
from sdsr.restoration.restorer import Restorer
from tests.methods import contract

CPU = torch.device("cpu")
META = torch.device("meta")

RECIPES = ("d3sr", "osediff", "d3sr-small", "consissr-small", "stablesr", "addsr-small", "invsr-small")
"""LoRA in a UNet, in an encoder too, a guided decoder, ControlNet and hybrid attention, modulation and feature
wrapping, image attention, a predictor of noise."""
BOTH = ("d3sr-small",)
"""What is restored in parts, too; where parts are swapped is seen with layers as well."""


@pytest.fixture(autouse=True)
def moving_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny prior's layers are small; so let small ones move, too."""
    monkeypatch.setattr(mechanism, "STAYS_BELOW_BYTES", 512)


def there(moving: Offloading) -> dict[str, int]:
    """Bytes of each group that are not at home."""
    away = {
        name: [unit for unit in units if unit[0].table[unit[0].name] is not unit[0].home]
        for name, units in moving.groups.items()
        if units != [[]]
    }
    return {name: sum(place.bytes for unit in units for place in unit) for name, units in away.items()}


@contextmanager
def watched(moving: Offloading) -> Iterator[list[dict[str, int]]]:
    """What was there after each forward of any module."""
    seen: list[dict[str, int]] = []
    handle = register_module_forward_hook(lambda *_: seen.append(there(moving)))
    try:
        yield seen
    finally:
        handle.remove()


class OneDevice(TorchDispatchMode):
    """Fails where tensors of two devices meet, as a card does; numbers and copies may."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
        assert len({tensor.device for tensor in tensors}) < 2 or func is torch.ops.aten.copy_.default, func
        return func(*args, **(kwargs or {}))


def restore_on_meta(recipe: Recipe, restorer: Restorer) -> torch.Tensor:
    """The four verbs, by shapes alone."""
    assert recipe.plan is not None
    noise = CanvasNoise(seeds=(0,))
    lq_image = LqImage.of(torch.rand(1, 3, 8, 12), (32, 48), restorer.prior.multiple_px)
    with torch.inference_mode(), OneDevice():
        encoded = restorer.encode_lq(lq_image, None, noise)
        noisy = restorer.start(encoded, recipe.plan.start_time, noise)
        clean = restorer.denoise(noisy, recipe.plan.times[0], encoded, recipe.plan.guidance)
        return restorer.decode(clean, lq_image, fidelity=0.5)


@pytest.mark.parametrize("name", RECIPES)
def test_weights_that_come_in_turn_make_the_same_picture(name: str, photo: torch.Tensor) -> None:
    recipe = contract.brief(METHODS[name])
    given = contract.small_photo(photo, 8, 12)
    restorer = contract.stirred(recipe)
    plain = contract.restored(recipe, restorer, given)
    before = {key: value.data_ptr() for key, value in restorer.parts.modules.state_dict().items()}
    for by_layer in (False, True) if name in BOTH else (True,):
        moving = offloading(restorer, CPU, by_layer=by_layer)
        moving.attach()
        with watched(moving) as seen:
            assert np.array_equal(contract.restored(recipe, restorer, given), plain)
        assert all(sum(amount > 0 for amount in one.values()) <= 1 for one in seen), "parts come in turn"
        assert max(sum(one.values()) for one in seen) == moving.most_bytes - moving.staying_bytes
        assert {"unet", "autoencoder"} <= {group for one in seen for group, amount in one.items() if amount}
        moving.detach()
        assert not any(there(moving).values())
    after = {key: value.data_ptr() for key, value in restorer.parts.modules.state_dict().items()}
    assert after == before, "weights are where they were"


@pytest.mark.parametrize("name", RECIPES)
def test_all_that_computes_is_on_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    autocast = torch.autocast  # which knows no meta
    monkeypatch.setattr(torch, "autocast", lambda kind, *rest, **named: autocast("cpu", *rest, **named))
    recipe = contract.brief(METHODS[name])
    restorer = contract.built(recipe)
    moving = offloading(restorer, META, by_layer=True)
    moving.attach()
    assert restorer.prior.device == META
    assert restore_on_meta(recipe, restorer).device == META
    moving.detach()
    assert restorer.prior.device == CPU
