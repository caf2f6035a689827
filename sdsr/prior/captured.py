"""Calls of networks as CUDA graphs: recorded once for each shape, then replayed as one launch.

A pass over some thousand cells is as many kernels of microseconds each, and Python launches them more slowly than a
card computes them. A graph launches all at once. It reads and writes the same memory each time, so inputs are copied
into buffers of its own and results out of them; weights are read where they were when it was recorded. So what is
called must be a function of its tensors alone, without a look at their values, and its weights must stay where they
are.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import register_pytree_node, tree_flatten, tree_map_only, tree_unflatten

from sdsr.prior.condition import Condition
from sdsr.prior.posterior import Posterior

MOST_GRAPHS = 12
"""Kept at once; the one that was used longest ago goes first."""
EAGER_CALLS = 2
"""Of a shape before it is recorded, which takes as long as some calls: a photo of one window shall not pay for it."""
MOST_CELLS = 96 * 96
"""Of a latent that is recorded: beyond, a card computes for longer than it is launched, and memory is worth more."""

Result = TypeVar("Result")
Call = Callable[[Sequence[Tensor]], Any]
"""From tensors to tensors, in whatever lists, tuples and dictionaries."""
Record = Callable[[Call, Sequence[Tensor]], Call]
"""From a call and an example of its inputs to what replays it."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Captured:
    """Calls by what they are and the shapes of their inputs; `record` makes what replays one.

    A call that can't be recorded stays as it is, with a warning. Gradients are never recorded.
    """

    record: Record
    most: int = MOST_GRAPHS
    eager_calls: int = EAGER_CALLS
    most_cells: int = MOST_CELLS
    _replays: OrderedDict[Hashable, Call | None] = field(default_factory=OrderedDict)
    _seen: OrderedDict[Hashable, int] = field(default_factory=OrderedDict)
    _lock: Any = field(default_factory=threading.RLock)

    def __call__(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return what `function(*arguments)` returns: tensors, perhaps in tuples, lists, dictionaries and dataclasses.

        It is known again by being equal, as bound methods of one object are.
        """
        leaves, structure = tree_flatten(arguments)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if torch.is_grad_enabled() or not tensors:
            return function(*arguments)
        others = tuple(None if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        key = (function, str(structure), others, tuple(map(_layout, tensors)), *_precision(tensors[0].device))

        def call(given: Sequence[Tensor]) -> Result:
            rest = iter(given)
            filled = [next(rest) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            return function(*tree_unflatten(filled, structure))

        with self._lock:
            replay = self._replay_of(key, call, tensors)
            return cast(Result, (replay or call)(tensors))

    def __reduce__(self) -> tuple[object, ...]:
        """A copy, or what was pickled, records anew."""
        return Captured, (self.record, self.most, self.eager_calls, self.most_cells)

    @property
    def count(self) -> int:
        """How many calls are recorded."""
        return sum(replay is not None for replay in self._replays.values())

    def forget(self) -> None:
        """Drop all that was recorded, and its memory."""
        with self._lock:
            self._replays.clear()
            self._seen.clear()

    def _replay_of(self, key: Hashable, call: Call, tensors: Sequence[Tensor]) -> Call | None:
        """What replays a call, None where it is to be called as it is."""
        if key in self._replays:
            self._replays.move_to_end(key)
            return self._replays[key]
        seen = self._seen[key] = self._seen.pop(key, 0) + 1
        if seen <= self.eager_calls:
            while len(self._seen) > 8 * self.most:
                self._seen.popitem(last=False)
            return None
        del self._seen[key]
        self._replays[key] = replay = self._recorded(call, tensors)
        while len(self._replays) > self.most:
            self._replays.popitem(last=False)
        return replay

    def _recorded(self, call: Call, tensors: Sequence[Tensor]) -> Call | None:
        try:
            return self.record(call, tensors)
        except torch.OutOfMemoryError:
            self.forget()
            _log.warning("Memory ran out while a network's call was recorded; it is launched kernel by kernel.")
        except RuntimeError as error:
            first = str(error).strip().partition("\n")[0]
            _log.warning("A network's call can't be recorded (%s); it is launched kernel by kernel.", first)
        return None


class GraphRecorder:
    """Records calls as CUDA graphs that share one pool of memory.

    Sharing is sound because results are copied out of it before the next graph is replayed, on the same stream.
    """

    def __init__(self) -> None:
        self._pool: Any = None

    def __reduce__(self) -> tuple[object, ...]:
        """A copy has a pool of its own."""
        return GraphRecorder, ()

    def __call__(self, call: Call, tensors: Sequence[Tensor]) -> Call:
        """Return what replays the call; raise RuntimeError where it can't be recorded."""
        device = tensors[0].device
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with torch.inference_mode(False), torch.no_grad():  # buffers that any mode may write into
            buffers = [torch.empty_like(each) for each in tensors]
        for buffer, tensor in zip(buffers, tensors, strict=True):
            buffer.copy_(tensor)
        graph = torch.cuda.CUDAGraph()
        kept = torch.is_autocast_cache_enabled()
        torch.clear_autocast_cache()
        torch.set_autocast_cache_enabled(False)  # weights cast before or within would be gone when it is replayed
        try:
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                call(buffers)
            torch.cuda.current_stream(device).wait_stream(stream)
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = call(buffers)
        finally:
            torch.set_autocast_cache_enabled(kept)

        def replay(given: Sequence[Tensor]) -> Any:
            for buffer, tensor in zip(buffers, given, strict=True):
                buffer.copy_(tensor)
            graph.replay()
            return tree_map_only(Tensor, Tensor.clone, result)

        return replay


def _register(kind: type) -> None:
    """Let tensors be found in a dataclass."""
    names = [each.name for each in fields(kind)]
    register_pytree_node(
        kind,
        lambda value: ([getattr(value, name) for name in names], None),
        lambda values, _: kind(**dict(zip(names, values, strict=True))),
        serialized_type_name=f"{kind.__module__}.{kind.__qualname__}",
    )


for _kind in (Condition, Posterior):
    _register(_kind)


def _layout(tensor: Tensor) -> Hashable:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def _precision(device: torch.device) -> tuple[Hashable, ...]:
    """What autocast does now, which is part of what a call computes."""
    kind = device.type
    enabled = torch.is_autocast_enabled(kind)
    return enabled, torch.get_autocast_dtype(kind) if enabled else None
