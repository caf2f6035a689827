"""How much training in bfloat16 on a CPU gains from weight gradients by matrix products.

python bench/convolution_gradients.py [--threads N] [--repeats N]

Per shape of a convolution: milliseconds of torch's own backward pass and of ours, medians, taken in turns.
"""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F

from sdsr.training.convolutions import MatrixProducts

SHAPES = ((160, 160, 8), (160, 160, 16), (320, 160, 16), (32, 160, 16), (64, 160, 16))
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads, batch {BATCH}, 3 x 3, medians of {arguments.repeats}")
    print(f"{'channels':>12} {'cells':>8} {'torch ms':>9} {'ours ms':>9} {'ratio':>6}")
    for given, grown, side in SHAPES:
        backward = _backward(given, grown, side)
        backward()
        times = [
            (_timed(backward, nullcontext()), _timed(backward, MatrixProducts())) for _ in range(arguments.repeats)
        ]
        torchs, ours = (1e3 * median(column) for column in zip(*times, strict=True))
        print(f"{given:>5} > {grown:<4} {side:>4}x{side:<3} {torchs:>9.1f} {ours:>9.1f} {torchs / ours:>6.1f}")


def _backward(given: int, grown: int, side: int) -> Callable[[], None]:
    image = torch.randn(BATCH, given, side, side, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(grown, given, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    bias = torch.randn(grown, dtype=torch.bfloat16, requires_grad=True)
    out = F.conv2d(image, weight, bias, padding=1)
    gradient = torch.randn_like(out)
    return lambda: out.backward(gradient, retain_graph=True)


def _timed(work: Callable[[], None], context: MatrixProducts | nullcontext[None]) -> float:
    with context:
        began = perf_counter()
        work()
        return perf_counter() - began


if __name__ == "__main__":
    main()
