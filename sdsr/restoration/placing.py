"""Where the weights of a restorer are while it restores: on an accelerator, or there in turn, as its memory allows.

`prior/running.py` decides, by bytes that are told here; `prior/offloading.py` moves.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from sdsr.adapters.lora import Lora
from sdsr.errors import InputError
from sdsr.prior.captured import Captured
from sdsr.prior.facts import Offload
from sdsr.prior.offloading import Offloading, offloading_of
from sdsr.prior.prior import AUTOENCODER
from sdsr.prior.running import Way, captured_on, choose_offload, layout_on, move_network
from sdsr.prior.tiny_decoder import NAME as TINY_DECODER
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.peak import Weights, on_accelerator, part_bytes
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer
from sdsr.restoration.tiles import LEAST_TILE_PX
from sdsr.restoration.window_sizes import most_window_px

_LARGE = (1 << 20, 1 << 20)
"""A canvas of many parts."""

_log = logging.getLogger(__name__)


def groups_of(restorer: Restorer) -> dict[str, list[nn.Module]]:
    """Return the networks by what they compute beside, named as among the prior's modules; none that only trains."""
    prior = restorer.prior
    backbone = prior.backbone.name
    groups: dict[str, list[nn.Module]] = {backbone: [prior.network], AUTOENCODER: [prior.autoencoder.model]}
    for name, module in prior.modules.items():
        if name not in (backbone, AUTOENCODER):
            groups.setdefault(AUTOENCODER if name == TINY_DECODER else name, []).append(module)
    for name, module in restorer.parts.modules.items():
        if not (isinstance(module, Lora) and module.is_fused):
            groups.setdefault(restorer.parts.used_with.get(name, backbone), []).append(module)
    return groups


def offloading(restorer: Restorer, device: torch.device, *, by_layer: bool) -> Offloading:
    """Return what moves a restorer's weights to a device in turn, not yet attached; those that learned in its dtype."""
    return Offloading(
        groups_of(restorer),
        device,
        by_layer=by_layer,
        dtype=restorer.prior.dtype,
        learned=[module for module in restorer.parts.modules.values() if module is not restorer.prior.network],
        layout=layout_on(device),
    )


def weigh(restorer: Restorer) -> Weights:
    """Return what a restorer's weights take on an accelerator; they may be on "meta"."""
    tops = [*restorer.prior.modules.values(), restorer.prior.network, restorer.prior.autoencoder.model]
    by_part = offloading(restorer, torch.device("meta"), by_layer=False)
    by_layer = offloading(restorer, torch.device("meta"), by_layer=True)
    return Weights(
        whole=_whole_bytes([*tops, *restorer.parts.modules.values()]),
        staying=by_part.staying_bytes,
        parts=by_part.group_bytes,
        layers=by_layer.group_bytes,
    )


def ways(restorer: Restorer, canvas: Canvas, weights: Weights, plan: Plan | None = None) -> list[Way]:
    """Return the ways to have weights on an accelerator, for pictures of any size, the fastest first.

    Parts are swapped once or twice a photo (for each window between steps, where a plan refines), which takes less time
    than the context of smaller tiles; layers at each step, which takes more.
    """
    facts = restorer.facts(plan)
    window = facts.bytes_per_px * most_window_px(canvas, facts) ** 2
    side = restorer.tile_px
    tiles = [side >> halvings for halvings in range(4) if side >> halvings >= LEAST_TILE_PX] or [side]
    by_tile = {}
    for tile_px in tiles:
        activations = {restorer.prior.backbone.name: window, AUTOENCODER: part_bytes(facts, _LARGE, tile_px)}
        by_tile[tile_px] = on_accelerator(weights, activations)
    swapped: list[tuple[Offload, int]] = [(level, tile_px) for tile_px in tiles for level in ("none", "model")]
    layered: list[tuple[Offload, int]] = [("sequential", tile_px) for tile_px in tiles]
    return [
        Way(offload=level, tile_px=tile_px, bytes=by_tile[tile_px][level]) for level, tile_px in (*swapped, *layered)
    ]


def check_offload(device: torch.device, offload: Offload | None) -> None:
    """Raise InputError for a way to have weights on an accelerator, where none computes."""
    if device.type == "cpu" and offload not in (None, "none"):
        raise InputError(f"offload (={offload}) moves weights from the host to an accelerator; leave it out on cpu.")


def placed(
    restorer: Restorer,
    device: torch.device,
    canvas: Canvas,
    *,
    offload: Offload | None = None,
    free_bytes: int | None = None,
    plan: Plan | None = None,
) -> Restorer:
    """Have a restorer, whose weights are in the host's memory, compute on a device; return it, in tiles that fit there.

    `canvas` and `plan` are the method's. `offload` None chooses the fastest way that fits in `free_bytes` (None: the
    host's own memory); where none does, the smallest is taken. Raises InputError for a way that means nothing there.
    """
    check_offload(device, offload)
    if offload == "none" or (offload is None and free_bytes is None):
        return move(restorer, device)
    weights = weigh(restorer)
    offered = [way for way in ways(restorer, canvas, weights, plan) if offload in (None, way.offload)]
    way = choose_offload(offered, free_bytes)
    restorer = restorer.in_tiles(way.tile_px)
    if way.offload == "none":
        return move(restorer, device)
    if offload is None and free_bytes is not None:
        free, whole = (f"{amount / 2**30:.1f} GiB" for amount in (free_bytes, weights.whole))
        _log.warning("%s has %s free: of weights (%s) it gets parts in turn (%s).", device, free, whole, way.offload)
    offloading(restorer, device, by_layer=way.offload == "sequential").attach()
    return _captured(restorer, None)  # weights that come and go are nowhere that a graph could find them


def move(restorer: Restorer, device: torch.device | str) -> Restorer:
    """Move all weights to a device, and keep them there; return the restorer, which replays graphs where it can."""
    if (before := offloading_of(restorer.prior.network)) is not None:
        before.detach()
    restorer.prior.to(device)
    move_network(restorer.parts.modules, device)
    return _captured(restorer, captured_on(torch.device(device)))


def _captured(restorer: Restorer, captured: Captured | None) -> Restorer:
    return replace(restorer, prior=replace(restorer.prior, captured=captured))


def _whole_bytes(modules: Iterable[nn.Module]) -> int:
    tensors: Mapping[int, Tensor] = {
        id(tensor): tensor for module in modules for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
