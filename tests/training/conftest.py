"""Photos to train on, as a folder and as a shard, and a fresh accelerate for each test."""

import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow


@pytest.fixture(autouse=True)
def fresh(fresh_accelerate: None) -> None:
    """Each test is a process of its own to accelerate."""


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of three photos (PNG, JPEG) and a shard of two, each smooth with some texture."""
    folder, shard = tmp_path / "photos", tmp_path / "shard.tar"
    folder.mkdir()
    for index in range(3):
        _picture(index).save(folder / f"{index}{('.png', '.jpg')[index % 2]}", quality=95)
    with tarfile.open(shard, "w") as archive:
        for index in range(3, 5):
            buffer = io.BytesIO()
            _picture(index).save(buffer, "PNG")
            member = tarfile.TarInfo(f"{index}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            archive.addfile(member, buffer)
    return folder, shard


@pytest.fixture
def scalars() -> Callable[..., dict[tuple[int, str], float]]:
    """A reader of a run's table of scalars: {(step, name): value}."""

    def read(run: Path) -> dict[tuple[int, str], float]:
        with (run / "scalars.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        values = {(int(row["step"]), row["name"]): float(row["value"]) for row in rows}
        assert len(values) == len(rows), "a step is in the table twice"
        return values

    return read


def _picture(seed: int) -> pillow.Image:
    rng = np.random.default_rng(seed)
    small = pillow.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((96, 80), pillow.Resampling.BICUBIC)).astype(float)
    return pillow.fromarray((smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))
