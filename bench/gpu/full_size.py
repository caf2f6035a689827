"""One step at full size on a card, 128 -> 512 px: eager, as CUDA graphs, compiled; beside diffusers, and its count.

python -m bench.gpu.full_size [--methods d3sr invsr addsr consissr] [--compile] [--profile] [--seconds 60] [--json FILE]
python -m bench.gpu.full_size --rehearse       the same on the CPU, on the tiny prior

Weights are random, drawn on the card in bfloat16. A photo goes from a tensor there to a tensor there; ms are medians of
the card's own events, each run begun on an idle card, launching included. The limit is the counted operations at the
rate of a large product of matrices, and at that of a decoder's convolution, both measured in the same run. Of ConsisSR,
three of its 50 guided steps are timed. `--compile` (about a minute more) puts torch.compile before the graphs.
A row that fails says so, and the others go on; none is begun after `--seconds`.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from bench.full_size import random_restorer
from bench.gpu.rows import Rows, rates
from bench.gpu.stock import stock_step
from bench.measuring import heading, machine, table, write_json
from sdsr.diffusion.noise import CanvasNoise
from sdsr.methods import METHODS
from sdsr.methods.recipe import Recipe
from sdsr.prior.captured import Captured, GraphRecorder
from sdsr.prior.loading import choose_device
from sdsr.prior.prior import TextEncoder
from sdsr.prior.running import lay_out, layout_on
from sdsr.request import Request
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import EncodedLq, Restorer
from sdsr.tensors import Latent, Tokens

TIMED_STEPS = 3
COMPILE_S = 25.0
"""Left at least for a network to be compiled in."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=["d3sr", "invsr", "addsr", "consissr"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print what D3SR's kernels take")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    device = torch.device("cpu") if options.rehearse else choose_device()
    rows = Rows(device=device, seconds=options.seconds, rounds=options.rounds, warm=0 if options.rehearse else 3)
    told: dict[str, Any] = {"machine": machine(str(device)), "rows": rows.told}
    print(f"{heading(told['machine'])}\n", flush=True)
    measured = rows.attempt("rates", lambda: rates(device, torch.bfloat16, rehearse=options.rehearse))
    for name in options.methods:
        rows.attempt(name, lambda name=name: _method(METHODS[name], rows, measured or {}, options), needs_s=5.0)
        write_json(options.json, told)


@dataclass(frozen=True, slots=True)
class Remembering:
    """Embeds each prompt once, as a published prior's text encoder does."""

    text: TextEncoder
    known: dict[str, Tokens]

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        return self.text.vocabulary

    def __call__(self, prompts: list[str]) -> Tokens:
        for prompt in prompts:
            if prompt not in self.known:
                self.known[prompt] = self.text([prompt])
        return torch.cat([self.known[prompt] for prompt in prompts])


def _method(recipe: Recipe, rows: Rows, measured: dict[str, float], options: argparse.Namespace) -> None:
    prior, dtype = ("tiny", torch.float32) if options.rehearse else (recipe.prior, torch.bfloat16)
    restorer = random_restorer(recipe, prior, dtype, rows.device)
    restorer.parts.modules.requires_grad_(False)
    text = Remembering(restorer.prior.text, {})
    restorer = replace(restorer, prior=replace(restorer.prior, text=text))
    plan = recipe.restoring.plan(Request(steps=1)) if recipe.name in ("addsr", "invsr") else recipe.restoring.own_plan
    size = 16 if options.rehearse else options.size
    lq = torch.rand(1, 3, size, size, device=rows.device)
    photo = PhotoRuns(restorer=restorer, plan=replace(plan, times=plan.times[:TIMED_STEPS]), lq=lq)
    few = replace(photo, restorer=with_graphs(restorer))
    with torch.inference_mode():
        rows.time(f"{recipe.name}, eager", photo.parts())
        rows.time(f"{recipe.name}, CUDA graphs", few.parts(), graphs=_count(few.restorer))
        rows.attempt(
            f"{recipe.name}, the same",
            lambda: _tell_difference(few.whole(), photo.whole(), rows, f"eager, {recipe.name}"),
        )
        if recipe.name == "d3sr":
            rows.attempt("layout", lambda: _otherwise_laid_out(photo, rows))
            rows.attempt("norms", lambda: _narrow_norms(photo, rows))
            _peers(rows, lq, rehearse=options.rehearse)
            if options.profile:
                rows.attempt("profile", lambda: _profile(photo), needs_s=5.0)
            if options.compile:
                rows.attempt("compiled", lambda: _compiled(photo, rows), needs_s=COMPILE_S)
    rows.attempt(f"{recipe.name}, count", lambda: _tell_limit(recipe, photo, len(plan.times), rows, measured))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRuns:
    """A photo's way through a restorer, as a whole and in parts; `plan` has the steps that are timed."""

    restorer: Restorer
    plan: Plan
    lq: Tensor
    scale: int = 4

    def encode(self) -> tuple[LqImage, EncodedLq, Latent]:
        noise = CanvasNoise(seeds=(0,))
        side = self.scale * self.lq.shape[-1]
        lq_image = LqImage.of(self.lq, (side, side), self.restorer.prior.multiple_px)
        encoded = self.restorer.encode_lq(lq_image, None, noise)
        return lq_image, encoded, self.restorer.start(encoded, self.plan.start_time, noise)

    def denoise(self, encoded: EncodedLq, noisy: Latent) -> Latent:
        clean = noisy
        for t, to in zip(self.plan.times, (*self.plan.times[1:], None), strict=True):
            clean = self.restorer.denoise(noisy, t, encoded, self.plan.guidance)
            if to is not None:
                rng = torch.Generator(noisy.device).manual_seed(t)
                drawn = torch.empty_like(noisy).normal_(generator=rng)
                noisy = self.plan.step(self.restorer.schedule, noisy, clean, t, to, lambda drawn=drawn: drawn)
        return clean

    def decode(self, clean: Latent, lq_image: LqImage) -> Tensor:
        return self.restorer.decode(clean, lq_image, fidelity=self.plan.fidelity).clamp(0, 1)

    def whole(self) -> Tensor:
        lq_image, encoded, noisy = self.encode()
        return self.decode(self.denoise(encoded, noisy), lq_image)

    def parts(self) -> dict[str, Callable[[], object]]:
        """Return what is to be timed; parts begin with what those before them gave once."""
        lq_image, encoded, noisy = self.encode()
        clean = self.denoise(encoded, noisy)
        return {
            "whole": self.whole,
            "encode": self.encode,
            "denoise": lambda: self.denoise(encoded, noisy),
            "decode": lambda: self.decode(clean, lq_image),
        }


def with_graphs(restorer: Restorer) -> Restorer:
    """Return the restorer, whose networks' calls are recorded the first time."""
    return replace(restorer, prior=replace(restorer.prior, captured=Captured(GraphRecorder(), eager_calls=0)))


def _count(restorer: Restorer) -> int:
    return 0 if restorer.prior.captured is None else restorer.prior.captured.count


def _peers(rows: Rows, lq: Tensor, *, rehearse: bool) -> None:
    for dtype, channels_last in ((torch.bfloat16, False), (torch.float16, False), (torch.bfloat16, True)):
        name = f"diffusers, eager, {str(dtype).removeprefix('torch.')}{', channels_last' if channels_last else ''}"
        made = rows.attempt(
            name,
            lambda dtype=torch.float32 if rehearse else dtype, last=channels_last: stock_step(
                lq, 4, dtype=dtype, channels_last=last, rehearse=rehearse
            ),
        )
        if made is not None:
            rows.time(name, made)
        del made


class NarrowNorms(TorchFunctionMode):
    """While it is entered, normalisation takes and gives what it is given; autocast widens that to float32.

    Statistics are float32 in torch's kernels all the same.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in (F.group_norm, F.layer_norm):
            return func(*args, **(kwargs or {}))
        bound = dict(zip(("input", "shape", "weight", "bias", "eps"), args, strict=False)) | (kwargs or {})
        given = bound["input"]
        shape = next(bound[name] for name in ("shape", "num_groups", "normalized_shape") if name in bound)
        weight, bias = (None if each is None else each.to(given.dtype) for each in map(bound.get, ("weight", "bias")))
        with torch.autocast(given.device.type, enabled=False):
            return func(given, shape, weight, bias, bound.get("eps", 1e-5))


def _otherwise_laid_out(photo: PhotoRuns, rows: Rows) -> None:
    """What the layout that was not chosen for this device (`sdsr/prior/running.py`) would be worth."""
    prior = photo.restorer.prior
    last = layout_on(prior.device) == torch.contiguous_format
    other = "channels_last" if last else "contiguous"
    layout = torch.channels_last if last else torch.contiguous_format
    networks = nn.ModuleList([prior.network, prior.autoencoder.model, *photo.restorer.parts.modules.values()])
    try:
        nn.Module.to(networks, memory_format=layout)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
        graphs = replace(photo, restorer=with_graphs(photo.restorer))
        rows.time(f"d3sr, {other}", photo.parts())
        rows.time(f"d3sr, {other}, CUDA graphs", graphs.parts())
    finally:
        lay_out(networks, prior.device)


def _narrow_norms(photo: PhotoRuns, rows: Rows) -> None:
    """What normalisation in bfloat16 would be worth."""
    plain = photo.whole()
    graphs = replace(photo, restorer=with_graphs(photo.restorer))
    with NarrowNorms():
        rows.time("d3sr, norms in bfloat16, CUDA graphs", graphs.parts())
        _tell_difference(graphs.whole(), plain, rows, "eager, norms in bfloat16")


def _tell_difference(one: Tensor, other: Tensor, rows: Rows, against: str) -> None:
    """Print by how much two pictures differ, in levels of 255."""
    away = 255 * (one.float() - other.float()).abs()
    told = {"row": f"against {against}", "mean": float(away.mean()), "max": float(away.max())}
    print(f"against {against}: mean {told['mean']:.3f}, max {told['max']:.1f} of 255\n", flush=True)
    rows.told.append(told)


def _compiled(photo: PhotoRuns, rows: Rows) -> None:
    """The networks compiled one after another, as long as there is time, then recorded."""
    vae: Any = photo.restorer.prior.autoencoder.model
    networks: dict[str, Any] = {
        "decoder": vae.decoder,
        "encoder": vae.encoder,
        "unet": photo.restorer.prior.network,
    }
    plain = photo.whole()
    seconds = {}
    for name, network in networks.items():
        network.compile(dynamic=False)
        began = rows.left_s
        if rows.attempt(f"compile {name}", photo.whole, needs_s=COMPILE_S) is None:
            network._compiled_call_impl = None  # it stays eager
        else:
            seconds[name] = began - rows.left_s
            print(f"compile {name}: {seconds[name]:.1f} s", flush=True)
    graphs = replace(photo, restorer=with_graphs(photo.restorer))
    rows.time("d3sr, compiled", photo.parts(), compile_s=seconds)
    rows.time("d3sr, compiled, CUDA graphs", graphs.parts(), compile_s=seconds)
    rows.attempt("compiled, the same", lambda: _tell_difference(graphs.whole(), plain, rows, "eager, compiled"))
    for network in networks.values():
        network._compiled_call_impl = None


def _profile(photo: PhotoRuns) -> None:
    """Print what the kernels of a photo take of the device, the longest first."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if photo.lq.is_cuda:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profile:
        photo.whole()
    by = "self_device_time_total" if photo.lq.is_cuda else "self_cpu_time_total"
    print(profile.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=70), flush=True)


def _tell_limit(recipe: Recipe, photo: PhotoRuns, steps: int, rows: Rows, measured: dict[str, float]) -> None:
    """Print the count, the times that follow from measured rates, and how far each row is from them and from peers."""
    with torch.no_grad():
        parts = {}
        for name, run in photo.parts().items():
            with FlopCounterMode(display=False) as counter:
                run()
            parts[name] = counter.get_total_flops()
    print(f"{recipe.name}: {parts['whole'] / 1e12:.2f} T operations in {len(photo.plan.times)} of {steps} steps")
    limits = {name: 1e3 * parts["whole"] / rate for name, rate in measured.items()}
    for name, limit in limits.items():
        print(f"  at the rate of a large {name}: {limit:.2f} ms")
    rows.told.append({"row": f"{recipe.name}, count", "operations": parts, "limits_ms": limits})
    own = [row for row in rows.told if "ms" in row and row["row"].startswith((recipe.name + ",", "diffusers"))]
    peers = [row["ms"]["whole"] for row in own if row["row"].startswith("diffusers")]
    cells = [_cells(row, steps, len(photo.plan.times), limits, peers if recipe.name == "d3sr" else []) for row in own]
    heads = ["row", "whole ms", "encode", "denoise", "decode", f"{steps} steps ms", "of limits", "peers, times"]
    print(table(heads, [row for row in cells if recipe.name == "d3sr" or not row[0].startswith("diffusers")]) + "\n")


def _cells(row: dict[str, Any], steps: int, timed: int, limits: dict[str, float], peers: list[float]) -> list[Any]:
    took = row["ms"]
    all_steps = took["whole"] + (steps / timed - 1) * took["denoise"]
    return [
        row["row"],
        *(took[part] for part in ("whole", "encode", "denoise", "decode")),
        all_steps,
        " / ".join(f"{took['whole'] / limit:.2f}" for limit in limits.values()),
        " / ".join(f"{peer / took['whole']:.2f}" for peer in peers),
    ]


if __name__ == "__main__":
    main()
