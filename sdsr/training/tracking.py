"""What a run shows while it goes on: a progress bar, TensorBoard, a table of scalars, validation sheets."""

import csv
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image as pillow
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from sdsr.tensors import Image

log = logging.getLogger(__name__)


class Tracker:
    """Writes `scalars.csv`, `sheets/*.png` and, where tensorboard is installed, its events into a run's folder.

    A run goes on at `step`: what was written of later steps, which a kill left without a checkpoint, is dropped.
    """

    def __init__(self, folder: Path, *, total_steps: int, show: bool, step: int = 0) -> None:
        self._folder = folder
        if show:
            _drop_later_rows(folder / "scalars.csv", step)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} images/s · ETA {task.fields[left]} · {task.fields[note]}"),
            TimeElapsedColumn(),
            disable=not show,
        )
        self._task = self._progress.add_task("training", total=total_steps, rate="-", left="-", note="")
        self._board = _board(folder / "tensorboard", step) if show else None

    def __enter__(self) -> "Tracker":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def advance(self, step: int, *, images_per_s: float, left_s: float, note: str) -> None:
        left = f"{left_s / 60:.0f} min"
        self._progress.update(self._task, completed=step, rate=f"{images_per_s:.1f}", left=left, note=note)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row per value to `scalars.csv` (step, name, value), and to TensorBoard."""
        path = self._folder / "scalars.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(("step", "name", "value"))
            writer.writerows((step, name, f"{value:.6g}") for name, value in values.items())
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def sheet(self, step: int, columns: Mapping[str, Image]) -> None:
        """Write validation pictures side by side, a row each, all enlarged to the largest column's size."""
        sheet = _sheet(list(columns.values()))
        folder = self._folder / "sheets"
        folder.mkdir(exist_ok=True)
        pillow.fromarray(sheet).save(folder / f"step-{step:07d}.png")
        if self._board is not None:
            self._board.add_image(" | ".join(columns), sheet, step, dataformats="HWC")


def _drop_later_rows(path: Path, step: int) -> None:
    if not path.exists():
        return
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if int(row[0]) <= step)])


def _sheet(columns: list[Tensor]) -> np.ndarray:
    height, width = (max(column.shape[side] for column in columns) for side in (-2, -1))
    rows = [
        torch.nn.functional.interpolate(column.float().cpu(), (height, width), mode="nearest") for column in columns
    ]
    wall = torch.cat([torch.cat(list(row), dim=-1) for row in zip(*rows, strict=True)], dim=-2)
    return (wall.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def _board(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("tensorboard is not installed, so scalars go to scalars.csv alone; pip install 'sdsr[train]'.")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
