"""Time of one restoration, 128 -> 512 px unless told otherwise, beside the same in float32 and without channels_last.

python bench/speed.py [--model NAME] [--size 128] [--scale 4] [--repeats 7]
python bench/speed.py --model d3sr-small --against stablesr-small --repeats 3    beside other methods instead
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from PIL import Image as pillow

from sdsr.upscaling import Upscaler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="d3sr-small")
    parser.add_argument("--against", action="append", default=[], help="Methods, or folders of trained ones.")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    photo = pillow.effect_noise((arguments.size, arguments.size), 40).convert("RGB")
    models = [arguments.model, *arguments.against]
    upscalers = {m: Upscaler.from_pretrained(m) for m in models} if arguments.against else _settings(arguments.model)
    rows = {name: partial(upscaler, photo, scale=arguments.scale) for name, upscaler in upscalers.items()}
    _print(_times(rows, arguments.repeats), arguments.size, arguments.scale)


def _settings(model: str) -> dict[str, Upscaler]:
    """The method as it is shipped, and in other precision and layout."""
    found = {}
    for name, dtype, layout in (
        ("as shipped", None, None),
        ("float32", torch.float32, None),
        ("float32, contiguous", torch.float32, torch.contiguous_format),
    ):
        upscaler = found[name] = Upscaler.from_pretrained(model)
        prior = upscaler.restorer.prior.adapted(dtype=dtype)
        upscaler.restorer = replace(upscaler.restorer, prior=prior)
        if layout is not None:
            for parameter in (*prior.modules.parameters(), *upscaler.restorer.parts.modules.parameters()):
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=layout)
    return found


def _times(rows: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each row, taken in turn after one warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(repeats + 1):
        for name, run in rows.items():
            began = time.perf_counter()
            run()
            if repeat:
                times[name].append(time.perf_counter() - began)
    return times


def _print(times: dict[str, list[float]], size: int, scale: float) -> None:
    print(f"{size} px x {scale:g}, {torch.get_num_threads()} threads, medians of {len(next(iter(times.values())))}\n")
    print("| row | median s | min s | max s | ratio |\n|---|---|---|---|---|")
    first = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {min(values):.2f} | {max(values):.2f} | {median / first:.2f} |")


if __name__ == "__main__":
    main()
