"""Peak memory of `sdsr upscale`, predicted and measured, in a process for each row, with the file written and verified.

python bench/memory.py [--models d3sr-small ...] [--megapixels 0.25 1 4] [--engine onnx|torch] [--dtype float32]
    [--steps 2] [--as-run] [--json FILE]

Both count from what the process holds when the model is loaded: weights and libraries aside. The engine is the one
that `sdsr upscale` would take, unless one is named; torch computes in what suits the processor, unless a `--dtype` is
named. The allocator is told to keep nothing of what is freed in pieces of 128 KiB and more, and what loading left is
given back before, unless `--as-run` leaves it as `sdsr` has it, which keeps up to 80 MiB. `--full d3sr` takes the
architecture that was published, with random weights; a few GiB. Leaves with 1 where a prediction is more than 15 % off;
with `--as-run`, where more is taken than is reserved: 15 % more than is predicted, and 80 MiB.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as pillow

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, machine, table, write_json
from sdsr.engines import load_model
from sdsr.jobs import JobMaker
from sdsr.request import Request
from sdsr.restoration.peak import KEPT_BYTES, MARGIN

SCALE = 4
MIB = 2**20
_SAID = "MALLOC_MMAP_THRESHOLD_"
KEPT_BELOW = "131072"  # bytes; glibc's own limit before it learns from what is freed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["d3sr-small"])
    parser.add_argument("--full", nargs="+", default=[], metavar="METHOD")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 4])
    parser.add_argument("--engine", choices=["onnx", "torch"])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--as-run", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(restored(arguments.one, arguments)))
        return
    told: dict[str, Any] = {"machine": machine(), "rows": []}
    print(heading(told["machine"]) + "\n", flush=True)
    heads = ["model", "output", "at the start", "predicted MiB", "measured MiB", "ratio", "per further pixel", "s"]
    print(table(heads, []), flush=True)
    for flag, model in [("--full", name) for name in arguments.full] or [("--models", n) for n in arguments.models]:
        previous: dict[str, float] | None = None
        for megapixels in arguments.megapixels:
            row = measured(megapixels, [flag, model, *_options(arguments)], as_run=arguments.as_run)
            print(_line(model, row, previous), flush=True)
            told["rows"].append({"model": model, **row})
            previous = row
    write_json(arguments.json, told)
    sys.exit(not all(holds(row, as_run=arguments.as_run) for row in told["rows"]))


def holds(row: Mapping[str, float], *, as_run: bool = False) -> bool:
    """Whether what was measured is what was predicted, within 15 %, or, as it is run, no more than is reserved."""
    if as_run:
        return row["measured"] <= MARGIN * row["predicted"] + KEPT_BYTES
    return 1 / MARGIN <= row["predicted"] / row["measured"] <= MARGIN


def measured(megapixels: float, options: Sequence[str], *, as_run: bool) -> dict[str, float]:
    """Return what one restoration takes in a process of its own, in bytes, pixels and seconds."""
    side = round((megapixels * 1e6) ** 0.5 / SCALE)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        pillow.effect_noise((side, side), 30).convert("RGB").save(photo)
        began = time.perf_counter()
        command = [sys.executable, __file__, "--one", str(photo), *options]
        environment = os.environ if as_run else {**os.environ, _SAID: KEPT_BELOW}
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return {"pixels": (SCALE * side) ** 2, "seconds": time.perf_counter() - began, **json.loads(answer.stdout)}


def restored(photo: Path, arguments: argparse.Namespace) -> dict[str, int]:
    """Restore a photo from file to file, as `sdsr upscale` does; return bytes at the start, predicted and measured."""
    from sdsr.allocator import keep_little
    from sdsr.batch.memory import predicted
    from sdsr.batch.restoring import restore
    from sdsr.batch.settings import Settings
    from sdsr.photos.files import Limits, probe, write_photo

    keep_little()
    maker = _maker(arguments)
    settings = Settings(request=Request(scale=SCALE, steps=arguments.steps))
    header = probe(photo, Limits())
    size = SCALE * header.height, SCALE * header.width
    peak = predicted(maker, header, size, settings.request)
    if os.environ.get(_SAID) == KEPT_BELOW:
        ctypes.CDLL(None).malloc_trim(0)
    start = resident("VmRSS")
    forget_peak()
    write_photo(restore(photo, maker, settings, format=None).result, photo.with_name("result.png"))
    return {"start": start, "predicted": peak.whole, "measured": resident("VmHWM") - start}


def resident(name: str) -> int:
    """Return what Linux says of this process: VmRSS, or VmHWM, the most there was."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> None:
    """Let VmHWM count from here on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _maker(arguments: argparse.Namespace) -> JobMaker:
    if not arguments.full and arguments.dtype is None:
        return load_model(arguments.models[0], engine=arguments.engine)
    import torch

    from sdsr.upscaling import Upscaler

    dtype = getattr(torch, arguments.dtype or "bfloat16")
    if not arguments.full:
        return Upscaler.from_pretrained(arguments.models[0], device="cpu", dtype=dtype).maker
    from bench.full_size import random_restorer
    from sdsr.methods import METHODS

    recipe = METHODS[arguments.full[0]]
    return Upscaler(recipe, random_restorer(recipe, recipe.prior, dtype)).maker


def _options(arguments: argparse.Namespace) -> list[str]:
    named = {"--engine": arguments.engine, "--dtype": arguments.dtype, "--steps": arguments.steps}
    return [str(word) for name, value in named.items() if value is not None for word in (name, value)]


def _line(model: str, row: dict[str, float], previous: dict[str, float] | None) -> str:
    slope = ""
    if previous is not None:
        slope = f"{(row['measured'] - previous['measured']) / (row['pixels'] - previous['pixels']):.1f}"
    amounts = " | ".join(f"{row[name] / MIB:.0f}" for name in ("start", "predicted", "measured"))
    ratio = row["predicted"] / row["measured"]
    return f"| {model} | {row['pixels'] / 1e6:g} MP | {amounts} | {ratio:.2f} | {slope} | {row['seconds']:.0f} |"


if __name__ == "__main__":
    main()
