"""Photos, requests, plans, canvases, windows, jobs and a service in processes where torch can't be imported."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

import sdsr
from sdsr.cli.table import NEED_METHODS, STUDIES
from tests.served import ROOT, Served, problem

SAMPLE = Path(sdsr.__file__).parent / "assets" / "sample.jpg"
BLOCKED = ("torch", "diffusers", "transformers", "safetensors", "accelerate", "peft", "huggingface_hub", "jaxtyping")
BLOCK = f"import sys\nfor name in {BLOCKED}:\n    sys.modules[name] = None\n"


def printed(code: str, home: Path | None = None) -> list[str]:
    """The lines that the code prints in a fresh interpreter without the libraries of the methods.

    A `home` is that of a user who said nothing to any library.
    """
    said = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    environment = None if home is None else said | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", BLOCK + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
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


def test_models_and_what_is_told_of_them_are_known() -> None:
    first, *rows = printed(
        "from sdsr import METHODS\nfrom sdsr.cli.models import models\nprint(*METHODS)\nmodels(json=True)"
    )
    told = {row["name"]: row for row in json.loads("\n".join(rows))}
    assert [name for name, row in told.items() if row["restores"]] == first.split()
    default = told["d3sr-small"]
    assert (default["paper"], default["steps"], default["licence"]) == ("arXiv:2410.04224", 1, "Apache-2.0")
    assert len(default["sha256"]) == 64
    assert told["small-prior"]["steps"] is None


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `sdsr upscale` restored without torch: a photo, a deep one with alpha, and one in windows."""
    folder = tmp_path_factory.mktemp("light")
    photos = folder / "photos"
    photos.mkdir()
    (folder / "home").mkdir()
    sample = np.asarray(Image.open(SAMPLE).convert("RGB"))
    Image.fromarray(sample[:24, :32]).save(photos / "plain.jpg", quality=95)
    deep = np.dstack([sample[:20, :30].astype(np.uint16) * 257, np.full((20, 30), 30000, np.uint16)])
    (photos / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    command = [
        "from sdsr.cli.main import main",
        f"sys.argv = ['sdsr', 'upscale', {str(photos)!r}, *{{options}}]",
        "main()",
    ]
    for options in (
        ["-o", str(folder / "out"), "--scale", "2", "--quiet"],
        ["-o", str(folder / "windows"), "--scale", "3", "--quiet", "--memory", "900M", "--consistent"],
    ):
        printed("\n".join(command).format(options=options), home=folder / "home")
    return folder


def test_a_folder_is_restored(restored: Path) -> None:
    with Image.open(restored / "out" / "plain.jpg") as plain, Image.open(restored / "photos" / "plain.jpg") as given:
        assert plain.size == (64, 48)
        near = np.asarray(plain.resize(given.size, Image.Resampling.BOX), float) - np.asarray(given, float)
    assert np.abs(near).mean() < 8  # 6.7; of the photo upside down it is 41
    deep = imagecodecs.png_decode((restored / "out" / "deep.png").read_bytes())
    assert (deep.shape, deep.dtype) == ((40, 60, 4), np.uint16)
    assert set(deep[..., 3].flat) == {30000}


def test_nothing_is_left_at_home(restored: Path) -> None:
    """ONNX Runtime keeps a device's identity there, and events until they are sent, unless it is hindered."""
    assert [*(restored / "home").rglob("*")] == []


def test_python_restores_too(restored: Path) -> None:
    (size,) = printed(
        f"""
from pathlib import Path
from sdsr import load_model
from sdsr.photos.files import read_photo
from sdsr.request import Request

print(load_model().upscale(read_photo(Path({str(restored / "photos" / "plain.jpg")!r})), Request(scale=1)).size)
"""
    )
    assert size == "(24, 32)"


def test_windows_are_restored(restored: Path) -> None:
    with Image.open(restored / "windows" / "plain.jpg") as plain:
        assert plain.size == (96, 72)


def test_what_needs_torch_says_so_in_one_line(tmp_path: Path) -> None:
    serve = ["serve", "--port", "0", "--folder", str(tmp_path)]
    for command in (
        ["upscale", str(SAMPLE), "--model", "stablesr-small"],
        ["train", "d3sr-small", "--print-config"],
        [*serve, "--model", "stablesr-small"],
        [*serve, "--device", "cuda:0"],
    ):
        code = f"sys.argv = ['sdsr', *{command!r}]\nfrom sdsr.cli.main import main\nmain()"
        line = [sys.executable, "-c", BLOCK + code]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("sdsr: error: "), done.stderr
        assert "pip install 'sdsr[methods]'" in done.stderr
        assert done.stderr.count("\n") == 1


def test_commands_that_are_said_to_need_torch_do_so(tmp_path: Path) -> None:
    """Asked with as little as they take, none of them begins without it."""
    asked = {
        "train": "d3sr-small --data X --run X",
        "teach": "d3sr-small --data X --to Y",
        "export": "d3sr-small --to Y",
        "convert": "consissr P --to Y",
        "evaluate": "X X",
        "degrade": "P -o Y.png",
        "study ablation": "X --data X --validation X --run Y",
        "study complexity": "d3sr-small",
        "study curves": "d3sr-small X",
        "study steps": "addsr-small X X",
        "study starts": "invsr-small X",
        "study fidelity": "d3sr-small X -o Y.png",
        "study tradeoff": "d3sr-small X X",
        "study modulation": "stablesr-small P -o Y.png",
        "study discriminator-features": "P -o Y.png",
        "study trust": "d3sr-small X",
        "study similarity": "P --text X --clip X",
    }
    assert [*asked] == [*NEED_METHODS, *(f"study {name}" for name in STUDIES)]
    paths = {"P": str(SAMPLE), "X": str(SAMPLE.parent)}
    lines = [[paths.get(word, word) for word in f"{words} {said}".split()] for words, said in asked.items()]
    told = printed(
        f"""
from sdsr.cli.main import app
for line in {lines!r}:
    try:
        app(line, standalone_mode=False)
    except ModuleNotFoundError as error:
        print(error.name.partition(".")[0])
    except BaseException as error:
        print(line, repr(error))
""",
        home=tmp_path,
    )
    assert len(told) == len(lines)
    assert {*told} <= {*BLOCKED}


def test_the_public_door_says_so_too() -> None:
    for asked in ("Upscaler", "METHODS['d3sr']"):
        (said,) = printed(f"import sdsr\ntry:\n    sdsr.{asked}\nexcept ImportError as error:\n    print(error)")
        assert "pip install 'sdsr[methods]'" in said


def test_methods_are_known_by_name() -> None:
    """What a name means is known; a recipe is torch's."""
    names, known, said = printed(
        """
from sdsr import METHODS
from sdsr.errors import ModelError
from sdsr.models import find_model

print(*METHODS)
print("osediff" in METHODS, "made-up" in METHODS, len(METHODS))
try:
    find_model("osediff")
except ModelError as error:
    print(error)
"""
    )
    assert {"d3sr-small", "stablesr", "addsr"} <= set(names.split())
    assert known == f"True False {len(names.split())}"
    assert said.startswith("weights of osediff are not embedded")


def test_the_demo_and_the_doctor_need_no_torch(restored: Path) -> None:
    pictures = [str(restored / "out" / "plain.jpg"), "--lq", str(restored / "photos" / "plain.jpg")]
    for command in (["compare", *pictures, "--output", str(restored / "sheet.png")], ["doctor"]):
        printed(f"sys.argv = ['sdsr', *{command!r}]\nfrom sdsr.cli.main import main\nmain()")
    assert (restored / "sheet.png").is_file()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service, none of whose processes can import torch."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "sitecustomize.py").write_text(BLOCK)  # which each interpreter runs at its start
    served = Served(folder / "kept", PYTHONPATH=os.pathsep.join((str(folder), str(ROOT))))
    yield served.ready()
    served.stop()
    assert "Traceback" not in served.said


def test_a_service_restores(service: Served) -> None:
    job = service.ended(service.submit(scale="2")["id"])
    assert job["state"] == "done", job["problem"]
    assert job["result"]["consistency_db"] > 20
    with Image.open(io.BytesIO(service.client.get(job["result"]["url"]).content)) as made:
        assert made.size == (256, 256)


def test_a_service_offers_what_it_can_load(service: Served) -> None:
    """The page's choice of models is this list."""
    assert [model["name"] for model in service.client.get("/v1/models").json()["models"]] == ["d3sr-small"]
    for model, said in (("stablesr-small", "pip install 'sdsr[methods]'"), ("made-up", "must be one of d3sr-small")):
        answer = service.client.post("/v1/jobs", files={"photo": ("a.jpg", SAMPLE.read_bytes())}, data={"model": model})
        assert problem(answer)["status"] == 422
        assert said in answer.json()["detail"]
