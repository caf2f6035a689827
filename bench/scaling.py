"""Time and memory against megapixels of the result as straight lines: intercepts, slopes, and how far off they are.

python bench/scaling.py [--models d3sr-small ...] [--megapixels 1 4 12 24] [--engine torch]
    [--steps N] [--json FILE]

Each size is a process of its own, whose peak of resident memory and processor time are read when it ends. The line is
drawn through all sizes but the last; the last one's error tells how well the line foretells it.
`--megapixels 12 50 100` takes long: what the slope says. Leaves with 1 where memory grows by more than 12 bytes
for each further pixel, or where the last peak is more than 15 % from the line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as pillow

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, machine, table, write_json

SCALE = 4
MOST_BYTES_PER_PX = 12.0
MOST_ERROR = 0.15
MODELS = ("d3sr-small", "invsr-small", "addsr-small", "consissr-small", "stablesr-small", "seesr-small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 12, 24])
    parser.add_argument("--engine", choices=["torch", "onnx", "openvino"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(restored(arguments.one, arguments.models[0], arguments.engine, arguments.steps)))
        return
    if len(arguments.megapixels) < 3:
        parser.error("a line and one size to hold against it need at least three of --megapixels")
    told: dict[str, Any] = {"machine": machine(), "models": {}}
    print(heading(told["machine"]) + "\n", flush=True)
    rows = []
    for model in arguments.models:
        sizes = sorted(arguments.megapixels)
        points = [process(megapixels, model, arguments.engine, arguments.steps) for megapixels in sizes]
        laws = {name: law([p["megapixels"] for p in points], [p[name] for p in points]) for name in ("MiB", "seconds")}
        told["models"][model] = {"points": points, **laws}
        rows.append([model, *laws["seconds"].values(), *laws["MiB"].values()])
    heads = ["model", "s", "s per MP", "last off by", "MiB", "MiB per MP", "last off by"]
    print(table(heads, rows))
    write_json(arguments.json, told)
    memory = [each["MiB"] for each in told["models"].values()]
    most = max(each["slope"] for each in memory) * 2**20 / 1e6
    print(f"\nat most {most:.1f} bytes for each further pixel")
    sys.exit(most > MOST_BYTES_PER_PX or any(abs(each["error"]) > MOST_ERROR for each in memory))


def law(megapixels: Sequence[float], values: Sequence[float]) -> dict[str, float]:
    """Return the line through all points but the last, and by what share it misses that one."""
    slope, intercept = np.polyfit(megapixels[:-1], values[:-1], 1)
    error = (intercept + slope * megapixels[-1]) / values[-1] - 1
    return {"intercept": float(intercept), "slope": float(slope), "error": float(error)}


def process(megapixels: float, model: str, engine: str | None, steps: int | None) -> dict[str, float]:
    """Return what one restoration in a process of its own took."""
    side = round((megapixels * 1e6) ** 0.5 / SCALE)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        pillow.effect_noise((side, side), 30).convert("RGB").save(photo)
        command = [sys.executable, __file__, "--one", str(photo), "--models", model]
        command += [] if engine is None else ["--engine", engine]
        command += [] if steps is None else ["--steps", str(steps)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"megapixels": (SCALE * side) ** 2 / 1e6, **json.loads(answer.stdout)}


def restored(photo: Path, model: str, engine: Any, steps: int | None) -> dict[str, float]:
    """Restore a photo from file to file, as `sdsr upscale` does; return seconds of processor time, and the peak."""
    import resource
    import time

    from sdsr.allocator import keep_little
    from sdsr.batch.restoring import restore
    from sdsr.batch.settings import Settings
    from sdsr.engines import load_model
    from sdsr.photos.files import write_photo
    from sdsr.request import Request

    keep_little()
    maker = load_model(model, engine=engine)
    began = time.process_time()
    settings = Settings(request=Request(scale=SCALE, steps=steps))
    write_photo(restore(photo, maker, settings, format=None).result, photo.with_name("result.png"))
    seconds = time.process_time() - began
    return {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, "seconds": seconds}


if __name__ == "__main__":
    main()
