"""Peak memory of `sdsr upscale` for large outputs, each in a process of its own, with the file written and verified.

python bench/memory.py [--megapixels 1 24 96] [--model NAME] [--engine onnx|torch]

The engine is the one that `sdsr upscale` would take, unless one is named.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image as pillow

from sdsr.engines import Engine, load_model
from sdsr.request import Request

SCALE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 24, 96])
    parser.add_argument("--model", default="d3sr-small")
    parser.add_argument("--engine", choices=["onnx", "torch"])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        _restore(arguments.one, arguments.model, arguments.engine)
        return
    print("| output | peak MiB | bytes per further pixel | seconds |\n|---|---|---|---|")
    previous: tuple[float, float] | None = None
    for megapixels in arguments.megapixels:
        peak, seconds = _measured(megapixels, arguments.model, arguments.engine)
        slope = "" if previous is None else f"{(peak - previous[1]) / (megapixels - previous[0]) / 1e6:.1f}"
        print(f"| {megapixels:g} MP | {peak / 2**20:.0f} | {slope} | {seconds:.0f} |", flush=True)
        previous = megapixels, peak


def _measured(megapixels: float, model: str, engine: Engine | None) -> tuple[float, float]:
    """Return the peak resident bytes and the seconds of one restoration."""
    side = round((megapixels * 1e6) ** 0.5 / SCALE)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        pillow.effect_noise((side, side), 30).convert("RGB").save(photo)
        began = time.perf_counter()
        command = [sys.executable, __file__, "--one", str(photo), "--model", model]
        command += [] if engine is None else ["--engine", engine]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(answer.stdout.split()[-1]), time.perf_counter() - began


def _restore(photo: Path, model: str, engine: Engine | None) -> None:
    from sdsr.photos.files import read_photo, write_photo

    result = load_model(model, engine=engine).upscale(read_photo(photo), Request(scale=SCALE))
    write_photo(result, photo.with_name("result.png"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
