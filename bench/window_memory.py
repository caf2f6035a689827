"""How much memory one pass of a prior's network needs for each pixel, beside what the prior says of itself.

Counted, not measured: the tensors that are alive at once while it runs, weights aside, at full size on "meta" (at the
small priors' own size on the CPU, convolved directly: what products need beside does not grow with a picture's height).
`python bench/window_memory.py`
"""

import argparse
import sys
import weakref
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.running import taking
from sdsr.prior.condition import Condition
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.shapes import shape_prior
from sdsr.prior.shapes_flow import flow_shape_prior


class Alive(TorchDispatchMode):
    """Counts the bytes of all tensors that were made since and are alive, and the most there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage(), given)
        return found

    def _count(self, storage: Any, given: set[int]) -> None:
        key = storage._cdata
        if key in self._known or key in given:
            return
        self._known.add(key)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def bytes_per_px(prior: Prior, side_px: int) -> float:
    """Return what one estimate of a square needs for each of its pixels."""
    cells = side_px // prior.factor
    noisy = torch.zeros(1, prior.channels, cells, cells, device=prior.device)
    condition = Condition(prompt=prior.embed(""))
    with torch.inference_mode(), taking(False, prior.device), Alive() as alive:
        prior.denoise(noisy, 500, condition)
    return alive.most / side_px**2


def part_bytes_per_px(prior: Prior, side_px: int) -> float:
    """Return what encoding and decoding a square need for each of its pixels, the larger of both."""
    cells = side_px // prior.factor
    image = torch.zeros(1, 3, side_px, side_px, device=prior.device)
    latent = torch.zeros(1, prior.channels, cells, cells, device=prior.device)
    most = 0
    for run in (lambda: prior.encode(image), lambda: prior.decode(latent)):
        with torch.inference_mode(), taking(False, prior.device), Alive() as alive:
            run()
        most = max(most, alive.most)
    return most / side_px**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    arguments = parser.parse_args()
    small = [load_prior("small", device="cpu", dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    priors = [*small, shape_prior(), flow_shape_prior()]
    print("| prior | says |" + "".join(f" {side} px |" for side in arguments.sides) + " autoencoder says | 256 px |")
    for prior in priors:
        facts = prior.facts
        found = "".join(f" {bytes_per_px(prior, side):.0f} |" for side in arguments.sides)
        parts = f" {facts.part_bytes_per_px} | {part_bytes_per_px(prior, 256):.0f} |"
        name = f"{prior.name}, {str(prior.dtype).removeprefix('torch.')}"
        print(f"| {name} | {facts.bytes_per_px} |{found}{parts}", flush=True)


if __name__ == "__main__":
    main()
