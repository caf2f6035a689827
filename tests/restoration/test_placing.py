"""Where weights are while a restorer works: what is chosen by memory, and that what ends early leaves all at home."""

import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sdsr.errors import InputError
from sdsr.methods import METHODS
from sdsr.photos.photo import Photo
from sdsr.prior import offloading as mechanism
from sdsr.prior import running
from sdsr.prior.offloading import offloading_of
from sdsr.prior.running import lay_out
from sdsr.request import Request
from sdsr.restoration import placing
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.peak import BY_CARD, MARGIN, Weights, on_accelerator, part_bytes
from sdsr.restoration.placing import offloading, placed, ways, weigh
from sdsr.restoration.restorer import Restorer
from sdsr.upscaling import Upscaler, accelerator_bytes, window_bytes

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture(autouse=True)
def moving_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanism, "STAYS_BELOW_BYTES", 512)


@pytest.fixture
def own() -> Upscaler:
    recipe = METHODS["d3sr-small"]
    assert recipe.method is not None
    return Upscaler(recipe, recipe.method.build("tiny"))


@pytest.fixture
def given() -> Photo:
    return Photo(pixels=np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8))


def bytes_of(restorer: Restorer, offload: str, tile_px: int) -> int:
    found = ways(restorer, Canvas(), weigh(restorer))
    return next(way.bytes for way in found if (way.offload, way.tile_px) == (offload, tile_px))


def test_what_an_accelerator_needs_is_weights_and_what_computes_beside_them() -> None:
    weights = Weights(
        whole=900,
        staying=10,
        parts={"unet": 500, "autoencoder": 100, "text": 300},
        layers={"unet": 50, "autoencoder": 20, "text": 80},
    )
    needs = on_accelerator(weights, {"unet": 100, "autoencoder": 1000})
    active = round(MARGIN * 1000)
    assert {level: need - BY_CARD.once_bytes for level, need in needs.items()} == {
        "none": 900 + active,
        "model": 10 + 100 + active,
        "sequential": 10 + 20 + active,
    }
    assert on_accelerator(weights, {"unet": 0, "autoencoder": 0})["model"] - BY_CARD.once_bytes == 510
    assert on_accelerator(weights, {"unet": 0, "autoencoder": 0})["sequential"] - BY_CARD.once_bytes == 90


def test_weights_are_counted_once_each(own: Upscaler) -> None:
    weights = weigh(own.restorer)
    tops = [*own.restorer.prior.modules.values(), *own.restorer.parts.modules.values()]
    tensors = {tensor.data_ptr(): tensor.nbytes for top in tops for tensor in top.state_dict().values()}
    assert weights.whole == sum(tensors.values())
    stock = own.restorer.prior.modules["unet"]  # the method has a UNet of its own, and this one is left at home
    left = sum(tensor.nbytes for tensor in stock.state_dict().values())
    assert weights.staying + sum(weights.parts.values()) == weights.whole - left
    assert all(weights.layers[name] < weights.parts[name] for name in ("unet", "autoencoder"))


@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_the_fastest_way_that_fits_is_chosen(own: Upscaler, offload: str, caplog: pytest.LogCaptureFixture) -> None:
    tile_px = 128 if offload == "sequential" else own.restorer.tile_px
    free = bytes_of(own.restorer, offload, tile_px)
    restorer = placed(own.restorer, META, Canvas(), free_bytes=free)
    found = offloading_of(restorer.prior.network)
    assert ("none" if found is None else "sequential" if found.by_layer else "model") == offload
    assert restorer.tile_px == tile_px
    assert restorer.prior.device == META
    assert (offload in caplog.text) == (offload != "none"), "a choice that costs time is told"


def test_tiles_are_as_large_as_fits_and_where_nothing_does_the_smallest(own: Upscaler) -> None:
    free = bytes_of(own.restorer, "sequential", own.restorer.tile_px // 2)
    assert (
        placed(own.restorer, META, Canvas(), offload="sequential", free_bytes=free).tile_px == own.restorer.tile_px // 2
    )
    own.place(CPU)
    least = placed(own.restorer, META, Canvas(), free_bytes=1)
    found = offloading_of(least.prior.network)
    assert found is not None
    assert found.by_layer
    assert least.tile_px == 128


def test_the_host_s_own_memory_holds_all_and_nothing_is_moved_from_the_cpu(own: Upscaler) -> None:
    assert offloading_of(placed(own.restorer, META, Canvas(), free_bytes=None).prior.network) is None
    fresh = replace(own.restorer)
    with pytest.raises(InputError, match="leave it out on cpu"):
        placed(fresh, CPU, Canvas(), offload="model")


def test_smaller_tiles_need_less_and_come_after_swapping(own: Upscaler) -> None:
    facts = own.restorer.facts()
    assert part_bytes(facts, (4096, 4096), 512) < part_bytes(facts, (4096, 4096))
    found = [(way.offload, way.tile_px) for way in ways(own.restorer, Canvas(), weigh(own.restorer))]
    assert found[:4] == [("none", 1024), ("model", 1024), ("none", 512), ("model", 512)]
    assert found[-4:] == [("sequential", side) for side in (1024, 512, 256, 128)]


def test_windows_may_use_what_weights_will_not(own: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdsr.upscaling.accelerator_bytes", lambda device: 10**9)
    assert window_bytes(own.restorer) == 10**9
    own.place(META, "model")
    moving = offloading_of(own.restorer.prior.network)
    assert moving is not None
    assert window_bytes(own.restorer) == 10**9 + moving.resident_bytes - moving.most_bytes < 10**9


def test_where_memory_runs_out_midway_all_goes_home(
    own: Upscaler, given: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = own.upscale(given, Request(scale=2)).pixels
    moving = offloading(own.restorer, CPU, by_layer=False)
    moving.attach()
    (unit,) = moving.groups["unet"]
    move_to = mechanism._Place.move_to

    def fails_late(place: mechanism._Place, device: torch.device) -> None:
        if place is unit[5]:
            raise torch.OutOfMemoryError("no more")
        move_to(place, device)

    with monkeypatch.context() as patched:
        patched.setattr(mechanism._Place, "move_to", fails_late)
        with pytest.raises(torch.OutOfMemoryError):
            moving.enter(unit)
    assert all(place.table[place.name] is place.home for place in unit)
    assert moving.resident_bytes == moving.staying_bytes
    assert np.array_equal(own.upscale(given, Request(scale=2)).pixels, plain)


def test_a_canceled_job_and_previews_leave_the_next_one_whole(own: Upscaler, given: Photo) -> None:
    plain = own.upscale(given, Request(scale=2)).pixels
    offloading(own.restorer, CPU, by_layer=True).attach()
    previews = own.job(given, Request(scale=2)).previews()
    assert isinstance(previews, Generator)
    next(previews)
    previews.close()
    assert np.array_equal(own.upscale(given, Request(scale=2)).pixels, plain)


def test_two_threads_take_turns(own: Upscaler, given: Photo) -> None:
    plain = own.upscale(given, Request(scale=2)).pixels
    offloading(own.restorer, CPU, by_layer=True).attach()
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(own.upscale(given, Request(scale=2)).pixels)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [np.array_equal(each, plain) for each in found] == [True, True]


def test_what_learned_is_there_in_the_precision_that_it_computes_in(own: Upscaler, given: Photo) -> None:
    """Autocast would cast linear and convolution layers at each use: so the picture is the same."""
    recipe = METHODS["consissr-small"]
    assert recipe.method is not None
    restorer = recipe.method.build("tiny")
    restorer = replace(restorer, prior=restorer.prior.adapted(dtype=torch.bfloat16))
    half = Upscaler(recipe, restorer)
    plain = half.upscale(given, Request(scale=2, steps=1)).pixels
    kept = half.restorer.parts.modules.state_dict()
    moving = offloading(half.restorer, CPU, by_layer=False)
    moving.attach()
    assert np.array_equal(half.upscale(given, Request(scale=2, steps=1)).pixels, plain)
    learned = [place for unit in moving.groups["unet"] for place in unit if place.dtype == torch.bfloat16]
    assert learned
    moving.detach()
    assert all(kept[name].dtype == tensor.dtype for name, tensor in half.restorer.parts.modules.state_dict().items())


def test_what_torch_keeps_of_freed_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(
        mem_get_info=lambda device: (100, 1000), memory_reserved=lambda device: 50, memory_allocated=lambda device: 20
    )
    assert accelerator_bytes(CPU) is None
    assert accelerator_bytes(META) is None
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch, "get_device_module", lambda device: card)
    assert accelerator_bytes(torch.device("xpu")) == 130
    assert accelerator_bytes(torch.device("mps")) is None


def test_a_model_is_loaded_to_compute_in_this_way(model: Path) -> None:
    found = Upscaler.from_pretrained(model, device="meta", offload="sequential")
    moving = offloading_of(found.restorer.prior.network)
    assert moving is not None
    assert moving.by_layer
    assert found.restorer.prior.device == META
    found.to(CPU)
    assert found.restorer.prior.device == CPU
    with pytest.raises(InputError, match="leave it out on cpu"):
        Upscaler.from_pretrained(model, device="cpu", offload="model")


def test_weights_that_come_in_turn_are_laid_out_as_on_that_device(
    own: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "meta" stands in for a card: layouts are seen there, too."""
    layouts = {META: torch.contiguous_format, CPU: torch.channels_last}
    for module in (running, placing):
        monkeypatch.setattr(module, "layout_on", layouts.__getitem__)
    network = lay_out(own.restorer.prior.network, "cpu")
    weight = next(weight for weight in network.parameters() if weight.ndim == 4 and not weight.is_contiguous())
    moving = offloading(own.restorer, META, by_layer=False)
    moving.attach()
    unit = next(unit for units in moving.groups.values() for unit in units for place in unit if place.home is weight)
    moving.enter(unit)
    assert all(tensor.is_contiguous() for tensor in network.parameters() if tensor.device == META)
    moving.detach()
    assert not weight.is_contiguous(), "at home it lies as it was"
