"""Photos, requests, plans, canvases, windows and jobs in a process where torch can't be imported."""

import subprocess
import sys

BLOCKED = ("torch", "diffusers", "transformers", "safetensors", "accelerate", "peft", "huggingface_hub")
BLOCK = f"import sys\nfor name in {BLOCKED}:\n    sys.modules[name] = None\n"


def printed(code: str) -> list[str]:
    """The lines that the code prints in a fresh interpreter without the libraries of the methods."""
    done = subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_block_holds() -> None:
    (said,) = printed("try:\n    import sdsr.upscaling\nexcept ImportError as error:\n    print(error.name)")
    assert said in BLOCKED


def test_a_photo_is_read_and_its_windows_are_planned() -> None:
    size, region, windows = printed(
        """
from pathlib import Path
import sdsr
from sdsr.photos.files import read_photo
from sdsr.prior.facts import Facts
from sdsr.request import Request
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.window_sizes import window_size

photo = read_photo(Path(sdsr.__file__).parent / "assets" / "sample.jpg")
height, width = photo.size
wide, high = Request(scale=8).size(width, height)
layout = Canvas(margin_px=32).layout((height, width), (high, wide), 16)
canvas = layout.region.height, layout.region.width
facts = Facts(
    factor=8, channels=4, multiple_px=16, native_px=1024, bytes_per_px=2_000, part_px=512, part_bytes_per_px=1_000
)
print(*photo.size)
print(*canvas)
print(window_size(Canvas(), canvas, facts=facts, memory_bytes=2_000 * 512**2))
"""
    )
    height, width = (int(side) for side in size.split())
    assert region == f"{8 * height + 64} {8 * width + 64}"
    assert windows == "WindowSize(window_px=512, overlap_px=128)"


def test_plans_and_jobs_are_named() -> None:
    (times,) = printed(
        """
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.job import Job, Preview, Progress
from sdsr.restoration.plan import Plan
from sdsr.restoration.protocol import RestoringInWindows

print(Plan(times=spaced(4), step=ancestral).times)
"""
    )
    assert times == "(999, 666, 333, 0)"
