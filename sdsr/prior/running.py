"""How a prior runs on a device: all that is decided of it, in one place; what each choice is worth stands beside it.

Ratios are of processor time, chosen to not chosen, of Stable Diffusion 2's networks at full size with random weights
(512 px, two threads of an AMD EPYC with AVX-512-BF16, `python bench/running.py`; those of convolutions on one with
AVX2, to diffusers' networks, `python bench/full_size.py d3sr --steps 1`).

| choice | where | ratio |
|---|---|---|
| bfloat16, weights stored in it, else float32 | processors and cards that multiply it | 0.48 (UNet) |
| channels_last, weights of convolutions | all but CUDA cards (`layout_on`) | 0.97 (UNet), 0.68 to 0.85 (small prior) |
| attention by rows of its map (`attention.py`) | processors that multiply bfloat16 | 0.91 (UNet) |
| convolutions by products of matrices (`convolution.py`) | processors in float32 | 0.66 (autoencoder), 0.84 (UNet) |
| | processors that multiply bfloat16 | 0.79 to 0.87 (decoder), 0.93 to 0.95 (UNet) |
| guidance in one batch of two | where memory bears it (`bears_two`) | 0.96; 0.7 to 0.8 (small prior) |
| no pass of guidance at scale 1 | everywhere | 0.49 |
| passes as CUDA graphs (`captured.py`), once a shape has come three times | cards, all weights there, up to 768 px | |
| one product for query, key and value: not taken | | 1.03 at 256 px (UNet) |

What was asked of a text encoder is remembered by it (`stable_diffusion.ClipText`), a LoRA is added to the weights
before anything is restored (`Parts.fuse`), and what a method makes of the photo is made once for each (`EncodedLq`).
Threads are as many as there are cores to run on, and wait asleep (`cli/processors.py`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from sdsr import kept_probes
from sdsr.prior import convolution
from sdsr.prior.attention import RowwiseAttention, by_rows
from sdsr.prior.captured import Captured, GraphRecorder
from sdsr.prior.convolution import ConvolutionByProducts, Workspace, by_winograd
from sdsr.prior.facts import Offload
from sdsr.prior.offloading import Offloading

FORMAT = 3
PROBED_FROM = 100_000_000
"""Parameters from which on loading takes so long that the probe's second is not felt."""

_TOKENS = 2048
_HEADS = 5
_HEAD_WIDTH = 64
_MAP = (1, 256, 128, 128)
_ROUNDS = 3
_WORTH = 0.95
"""By how much a choice must be faster than what everybody else does, to be taken."""

Network = TypeVar("Network", bound=nn.Module)
Run = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a processor may do otherwise than everybody does: how both are called, and the mode in which networks do it.

    `rivals` returns the usual way and this one, to be timed. Where nothing was probed, `assumed` says which it is.
    `workspace_bytes` is what this one needs beside results, by the (out, in) channels of a convolution's kernels.
    """

    usual: str
    otherwise: str
    mode: Callable[[], TorchFunctionMode]
    rivals: Callable[[], tuple[Run, Run]]
    assumed: bool
    workspace_bytes: Callable[[int, int], int] = lambda out, channels: 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a choice is `taken`, and by what."""

    choice: Choice
    taken: bool
    why: str

    @property
    def words(self) -> str:
        """Return it in words."""
        return f"{self.choice.otherwise if self.taken else self.choice.usual} ({self.why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What was decided for a device, and of what it has a choice."""

    dtype: torch.dtype
    layout: torch.memory_format
    decisions: tuple[Decision, ...] = ()

    @property
    def words(self) -> str:
        """Return it in words."""
        dtype = str(self.dtype).removeprefix("torch.")
        layout = "contiguous" if self.layout == torch.contiguous_format else "channels_last"
        return ", ".join([dtype, layout, *(each.words for each in self.decisions), "guidance in one batch"])

    @property
    def taken(self) -> list[Choice]:
        """Return what is done otherwise than usual."""
        return [each.choice for each in self.decisions if each.taken]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to have weights on an accelerator: which are there at once, the side of tiles, and what that needs."""

    offload: Offload
    tile_px: int
    bytes: int


def choose_device() -> torch.device:
    """Return the accelerator of this machine (cuda, mps, xpu), or the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def choose_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes in it, float32 elsewhere; never float16, in which decoders overflow.

    A processor is what torch is told to take it for: ATEN_CPU_CAPABILITY=avx2 gives what AVX2 gives.
    """
    match device.type:
        case "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        case "cpu":
            able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
            native = able and torch.backends.cpu.get_cpu_capability() == "AVX512"
        case _:
            native = False
    return torch.bfloat16 if native else torch.float32


@cache
def running_on(device: torch.device) -> Running:
    """Return what is decided for a device: by what is kept of a probe, else by what it is."""
    dtype, layout = choose_dtype(device), layout_on(device)
    if device.type != "cpu":
        return Running(dtype=dtype, layout=layout)
    ratios = _recalled(dtype)
    decisions = tuple(_decided(choice, ratios.get(choice.otherwise)) for choice in _CHOICES[dtype])
    return Running(dtype=dtype, layout=layout, decisions=decisions)


def _decided(choice: Choice, ratio: float | None) -> Decision:
    if ratio is None:
        return Decision(choice=choice, taken=choice.assumed, why="not probed")
    why = f"probed: {choice.otherwise} takes {ratio:.2f} of the time"
    return Decision(choice=choice, taken=ratio < _WORTH, why=why)


def probe_for(network: nn.Module, device: torch.device) -> None:
    """Probe this processor, once, where a network is large enough for that."""
    large = sum(parameter.numel() for parameter in network.parameters()) >= PROBED_FROM
    if not large or device.type != "cpu":
        return
    choices = _CHOICES[choose_dtype(device)]
    if len(_recalled(choose_dtype(device))) < len(choices):
        kept_probes.keep(_key(), {choice.otherwise: probe(choice) for choice in choices})
        running_on.cache_clear()


def probe(choice: Choice) -> float:
    """Return what a choice takes of the time of the usual way, by the fastest of some runs each."""
    rivals = choice.rivals()
    least = [float("inf")] * len(rivals)
    with torch.inference_mode():
        for _ in range(_ROUNDS + 1):
            for index, run in enumerate(rivals):
                began = time.perf_counter()
                run()
                least[index] = min(least[index], time.perf_counter() - began)
    usual, otherwise = least
    return otherwise / usual


def _attentions() -> tuple[Run, Run]:
    rng = torch.Generator().manual_seed(0)
    shape = (1, _HEADS, _TOKENS, _HEAD_WIDTH)
    query, key, value = (torch.randn(shape, generator=rng).bfloat16() for _ in range(3))
    return lambda: F.scaled_dot_product_attention(query, key, value), lambda: by_rows(query, key, value)


def _convolutions(dtype: torch.dtype) -> tuple[Run, Run]:
    rng = torch.Generator().manual_seed(0)
    shapes = (_MAP, (_MAP[1], _MAP[1], 3, 3))
    cells, kernels = (
        torch.randn(shape, generator=rng).to(dtype, memory_format=torch.channels_last) for shape in shapes
    )
    workspace = Workspace(dtype)
    return lambda: F.conv2d(cells, kernels, padding=1), lambda: by_winograd(cells, kernels, workspace=workspace)


_usual: ContextVar[bool] = ContextVar("usual", default=False)


def _by_products(dtype: torch.dtype, *, assumed: bool) -> Choice:
    return Choice(
        usual="convolutions direct",
        otherwise="convolutions by products",
        mode=partial(ConvolutionByProducts, dtype),
        rivals=partial(_convolutions, dtype),
        assumed=assumed,
        workspace_bytes=partial(convolution.workspace_bytes, dtype=dtype),
    )


_CHOICES: Mapping[torch.dtype, tuple[Choice, ...]] = {
    torch.bfloat16: (
        Choice(
            usual="attention fused",
            otherwise="attention by rows",
            mode=RowwiseAttention,
            rivals=_attentions,
            assumed=True,
        ),
        _by_products(torch.bfloat16, assumed=not torch.cpu._is_amx_tile_supported()),
    ),
    torch.float32: (_by_products(torch.float32, assumed=torch.backends.mkl.is_available()),),
}


def workspace_bytes(device: torch.device, dtype: torch.dtype, kernels: tuple[int, int]) -> int:
    """Return what convolutions by such kernels, (out, in) channels, need beside results, 0 where they are direct."""
    running = running_on(device)
    return sum(choice.workspace_bytes(*kernels) for choice in running.taken) if running.dtype == dtype else 0


def captured_on(device: torch.device) -> Captured | None:
    """Return what replays calls of networks whose weights stay on a device: CUDA graphs, None where there are none."""
    return Captured(GraphRecorder()) if device.type == "cuda" else None


def choose_offload(ways: Sequence[Way], free_bytes: int | None) -> Way:
    """Return the first of these ways that fits in the memory that an accelerator has free, else the last one.

    Without `free_bytes` it is the host's own memory that it computes in.
    """
    return next((way for way in ways if free_bytes is None or way.bytes <= free_bytes), ways[-1])


@contextmanager
def as_usual() -> Iterator[None]:
    """While it lasts, networks compute as everybody does, whatever was decided: to count operations as defined."""
    token = _usual.set(True)
    try:
        yield
    finally:
        _usual.reset(token)


@contextmanager
def computing(device: torch.device, dtype: torch.dtype, offloading: Offloading | None = None) -> Iterator[None]:
    """While it lasts, networks on this device compute in `dtype` as was decided for it.

    Where weights come to the device in turn, no other thread's do.
    """
    kind = "cpu" if device.type == "meta" else device.type  # autocast knows no meta
    alone = nullcontext() if offloading is None else offloading.lock
    running = running_on(device)
    taken = running.taken if running.dtype == dtype and not _usual.get() else []
    with alone, torch.autocast(kind, dtype, enabled=dtype != torch.float32), ExitStack() as modes:
        for choice in taken:
            modes.enter_context(choice.mode())
        yield


def layout_on(device: torch.device) -> torch.memory_format:
    """Return how weights of convolutions are laid out on a device, which activations follow.

    Contiguous on CUDA cards, where torch's group norm copies what comes in channels_last, and the next convolution
    copies it back: a photo of 128 to 512 px takes 66.9 ms through diffusers' networks of Stable Diffusion 2, 78.5 in
    channels_last, more in each part (H200, bfloat16, torch 2.11; `python -m bench.gpu.full_size`). Small priors and
    tiny decoders, which were not measured there, follow.
    """
    return torch.contiguous_format if device.type == "cuda" else torch.channels_last


def lay_out(network: Network, device: torch.device | str) -> Network:
    """Return a network, moved to a device, its weights laid out as is fastest there; that changes no value."""
    there = torch.device(device)
    nn.Module.to(network, there, memory_format=layout_on(there))  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    return network


def move_network(network: Network, device: torch.device | str) -> Network:
    """Return a network, moved to a device; to one of another kind, it is laid out as there."""
    there = torch.device(device)
    if all(parameter.device.type == there.type for parameter in network.parameters()):
        nn.Module.to(network, there)
        return network
    return lay_out(network, there)


def _recalled(dtype: torch.dtype) -> dict[str, float]:
    """The ratios that are kept of this precision's choices for this machine, by their names."""
    kept = kept_probes.recall(_key())
    ratios = (
        {choice.otherwise: kept.get(choice.otherwise) for choice in _CHOICES[dtype]}
        if isinstance(kept, Mapping)
        else {}
    )
    return {name: ratio for name, ratio in ratios.items() if isinstance(ratio, float) and ratio > 0}


def _key() -> kept_probes.Key:
    return {
        "format": FORMAT,
        "of": f"prior, {choose_dtype(torch.device('cpu'))}",
        **kept_probes.this_machine(("torch", "sdsr"), torch.get_num_threads()),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
