"""Weights that stay in the host's memory, and are on a device only while they compute: for cards that can't hold all.

Two levels, called as in diffusers. "model": parts that compute together are on the card until others are needed, so a
photo moves each once or twice. "sequential": one layer at a time, all of them again at each step. Hooks are
accelerate's; unlike its own they keep each parameter, with its value, where it is at home, so that states can be saved
and networks that share weights go on sharing them.
"""

import threading
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn

STAYS_BELOW_BYTES = 64 << 10
"""Of a layer: what is smaller stays on the device, as moving it takes longer than computing with it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A tensor of a module: where it is registered, what is there at home, and its dtype and layout on the device."""

    table: MutableMapping[str, Any]
    name: str
    home: Tensor
    dtype: torch.dtype
    layout: torch.memory_format

    @property
    def bytes(self) -> int:
        """What it takes on the device."""
        return self.home.numel() * self.dtype.itemsize

    def move_to(self, device: torch.device) -> None:
        there = self.home.detach().to(device)  # as it is: a card casts faster
        there = there.to(self.dtype, memory_format=self.layout)
        self.table[self.name] = nn.Parameter(there, requires_grad=False) if _learns(self.home) else there

    def move_home(self) -> None:
        self.table[self.name] = self.home


Unit = list[_Place]
"""What is moved at once."""


class Offloading:
    """Modules in groups that compute together, whose weights are at home where they are now, and in turn on `device`.

    `by_layer`: what is moved at once is a layer, else a group. `learned`: modules whose linear and convolution layers
    are there in `dtype`, which autocast would cast them to at each use. `layout`: how weights of
    convolutions lie on a device of another kind. Small tensors, and those that are used outside
    of their module's own forward, are on the device all the time. It begins with `attach`.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[nn.Module]],
        device: torch.device,
        *,
        by_layer: bool,
        dtype: torch.dtype = torch.float32,
        learned: Collection[nn.Module] = (),
        layout: torch.memory_format = torch.preserve_format,
    ) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.by_layer = by_layer
        self._tops = [module for modules in groups.values() for module in modules]
        self._cast = {layer for module in learned for layer in module.modules()} if dtype != torch.float32 else set()
        self._dtype = dtype
        self._layout = layout
        self._stay: Unit = []
        self.groups: dict[str, list[Unit]] = {}
        self._entered: dict[nn.Module, Unit] = {}
        self._resident: Unit | None = None
        known: set[nn.Module] = set()
        for name, modules in groups.items():
            layers = [layer for module in modules for layer in module.modules() if layer not in known]
            known.update(layers)
            self.groups[name] = self._units(layers)

    def _units(self, layers: list[nn.Module]) -> list[Unit]:
        """Sort the tensors of a group into those that stay and the units that move."""
        moving: dict[nn.Module, Unit] = {}
        for layer in dict.fromkeys(layers):
            places = self._places(layer)
            if not places:
                continue
            small = sum(place.bytes for place in places) < STAYS_BELOW_BYTES
            if small or isinstance(layer, nn.GroupNorm) or any(True for _ in layer.children()) or not _computes(layer):
                self._stay += places  # a GroupNorm's are used after it, too (`group_statistics.imposed`)
            else:
                moving[layer] = places
        units = list(moving.values()) if self.by_layer else [[place for unit in moving.values() for place in unit]]
        for index, layer in enumerate(moving):
            self._entered[layer] = units[index if self.by_layer else 0]
        return units

    def _places(self, layer: nn.Module) -> Unit:
        cast = layer in self._cast and isinstance(layer, nn.Linear | nn.Conv2d)
        found = []
        for table in (layer._parameters, layer._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    dtype = self._dtype if cast and tensor.dtype == torch.float32 else tensor.dtype
                    found.append(_Place(table, name, tensor, dtype, self._layout_of(tensor)))
        return found

    def _layout_of(self, tensor: Tensor) -> torch.memory_format:
        elsewhere = tensor.ndim == 4 and tensor.device.type != self.device.type
        return self._layout if elsewhere else torch.preserve_format

    @property
    def staying_bytes(self) -> int:
        """What is on the device all the time."""
        return _bytes(self._stay)

    @property
    def most_bytes(self) -> int:
        """What is on the device at once, at most."""
        return self.staying_bytes + max((_bytes(unit) for units in self.groups.values() for unit in units), default=0)

    @property
    def group_bytes(self) -> dict[str, int]:
        """What is on the device at once of each group, beside what stays."""
        return {name: max(map(_bytes, units), default=0) for name, units in self.groups.items()}

    @property
    def resident_bytes(self) -> int:
        """What is on the device now."""
        return self.staying_bytes + (0 if self._resident is None else _bytes(self._resident))

    def attach(self) -> None:
        """Begin: from here on the modules compute on the device."""
        for top in dict.fromkeys(self._tops):
            assert not hasattr(top, "_hf_hook"), "other hooks of accelerate would hide these"
            if top not in self._entered:
                add_hook_to_module(top, _Hook(self))
        for layer, unit in self._entered.items():
            add_hook_to_module(layer, _Hook(self, unit))
        for place in self._stay:
            place.move_to(self.device)

    def detach(self) -> None:
        """End: all weights are at home again, the very parameters, and compute there."""
        with self.lock:
            self._leave()
            for place in self._stay:
                place.move_home()
            for module in (*self._tops, *self._entered):
                remove_hook_from_module(module)

    def enter(self, unit: Unit) -> None:
        """Have a unit on the device, and no other."""
        if self._resident is unit:
            return
        with self.lock:
            self._leave()
            self._resident = unit
            try:
                for place in unit:
                    place.move_to(self.device)
            except BaseException:  # memory ran out, or the job was ended: a unit is there whole or not at all
                self._leave()
                raise

    def _leave(self) -> None:
        if self._resident is None:
            return
        for place in self._resident:
            place.move_home()
        self._resident = None
        if not self.by_layer:
            clear_device_cache()


class _Hook(ModelHook):
    """Tells what offloads a module, whose unit, if it has one, comes to the device before it computes."""

    def __init__(self, offloading: Offloading, unit: Unit | None = None) -> None:
        self.offloading = offloading
        self.unit = unit

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.unit is not None:
            self.offloading.enter(self.unit)
        return args, kwargs


def offloading_of(module: nn.Module) -> Offloading | None:
    """Return what offloads a module that was named in a group; None where its weights stay where they are."""
    hook = getattr(module, "_hf_hook", None)
    return hook.offloading if isinstance(hook, _Hook) else None


def device_of(module: nn.Module) -> torch.device:
    """Return where a module computes: what its weights are moved to, else where they are."""
    offloading = offloading_of(module)
    return next(module.parameters()).device if offloading is None else offloading.device


def _bytes(unit: Unit) -> int:
    return sum(place.bytes for place in unit)


def _learns(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter)


def _computes(layer: nn.Module) -> bool:
    """Whether a layer has a forward, before which it can be moved."""
    return type(layer).forward is not nn.Module.forward
