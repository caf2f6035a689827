"""`sdsr upscale` from bucket to bucket, and by file:// from folder to folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sdsr.cli.main import app


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Path]:
    """A folder of two photos, and the same in a bucket."""
    memory = fsspec.filesystem("memory")
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "sub/b.jpg")):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        memory.pipe_file(f"/bucket/in/{name}", (folder / name).read_bytes())
    yield folder
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def upscale(source: str, out: str, model: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["upscale", source, "-o", out, "--model", str(model), "--scale", "2", *more])


def test_from_bucket_to_bucket_by_shards_and_again(photos: Path, model: Path) -> None:
    statuses: list[str] = []
    for shard in ("1/2", "2/2", "1/1"):
        result = upscale("memory://bucket/in/", "memory://bucket/in/out", model, "--json", "--shard", shard)
        assert result.exit_code == 0, result.output
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        statuses += [line["status"] for line in lines]
    assert statuses == ["done", "done", "skipped", "skipped"]
    assert {line["output"] for line in lines} == {"memory://bucket/in/out/a.png", "memory://bucket/in/out/sub/b.jpg"}


def test_what_is_of_files_is_refused(photos: Path, model: Path) -> None:
    dry = upscale("memory://bucket/in", "memory://bucket/out", model, "--dry-run").exception
    assert str(dry).startswith("--dry-run is of files, and memory://bucket/in is a bucket")
    mixed = upscale("memory://bucket/in", str(photos.parent / "out"), model).exception
    assert str(mixed).startswith("photos (=memory://bucket/in) and output (=")
    assert "must both be URLs" in str(mixed)


def test_a_file_url_is_a_path(photos: Path, model: Path) -> None:
    out = photos.parent / "out"
    result = upscale(f"file://{photos}", f"file://{out}", model, "-q")
    assert result.exit_code == 0, result.output
    assert (out / "a.png").is_file()
