"""How long a photo takes by each method and size, beside a bicubic resize in the same turn, and time per part.

python bench/latency.py [--models d3sr-small invsr-small ...] [--sizes 64 128 256] [--scale 4] [--rounds 3]
    [--engine torch] [--json FILE]

A model is a name or a folder of a trained one; without `--models`, the embedded ones that restore in at most ten steps.
Parts are those of a job: encoding, steps, and what makes pixels of a latent. Rows take turns; on a busy machine,
compare processor time.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as pillow

import sdsr

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, in_turn, machine, table, timed, write_json
from sdsr.engines import load_model
from sdsr.jobs import JobMaker
from sdsr.photos.photo import Photo
from sdsr.request import Request

SAMPLE = Path(sdsr.__file__).parent / "assets" / "sample.jpg"
MODELS = ("d3sr-small", "invsr-small", "addsr-small", "consissr-small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=["torch", "onnx", "openvino"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    makers = {name: load_model(name, engine=arguments.engine) for name in arguments.models}
    told: dict[str, Any] = {"machine": machine(), "scale": arguments.scale, "rows": []}
    print(heading(told["machine"]) + "\n")
    for size in arguments.sizes:
        told["rows"] += measured(makers, sample(size), arguments.scale, arguments.rounds)
    heads = ("model", "px", "wall s", "processor s", "MP/s of result", "encode s", "steps s", "pixels s")
    print(table(heads, [[row.get(head, "") for head in heads] for row in told["rows"]]))
    write_json(arguments.json, told)


def sample(side: int) -> Photo:
    """Return the packaged photo, reduced to a square of this side."""
    with pillow.open(SAMPLE) as whole:
        return Photo(pixels=np.asarray(whole.convert("RGB").resize((side, side), pillow.Resampling.LANCZOS)))


def measured(makers: dict[str, JobMaker], photo: Photo, scale: float, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each model and one for Pillow's bicubic resize."""
    request = Request(scale=scale)
    rows: dict[str, Callable[[], object]] = {name: partial(m.upscale, photo, request) for name, m in makers.items()}
    side = round(photo.size[1] * scale)
    rows["bicubic"] = lambda: pillow.fromarray(photo.pixels).resize((side, side), pillow.Resampling.BICUBIC)
    found = []
    for name, timing in in_turn(rows, rounds).items():
        row: dict[str, Any] = {"model": name, "px": f"{photo.size[1]} -> {side}"}
        row |= {"wall s": timing.wall, "processor s": timing.cpu, "MP/s of result": side**2 / 1e6 / timing.wall}
        found.append(row | (parts(makers[name], photo, request) if name in makers else {}))
    return found


def parts(maker: JobMaker, photo: Photo, request: Request) -> dict[str, float]:
    """Return the seconds of processor time of a job's parts; its first step has the encoding before it."""
    job = maker.job(photo, request)
    encoding = timed(lambda: job.restorer.encode_lq(job.canvas, request.prompt, job.noise))[1]
    last: list[Any] = []
    steps = timed(lambda: last.extend(job.steps()))[1]
    pixels = timed(lambda: job.pixels(last[-1]))[1]
    return {"encode s": encoding, "steps s": max(0.0, steps - encoding), "pixels s": pixels}


if __name__ == "__main__":
    main()
