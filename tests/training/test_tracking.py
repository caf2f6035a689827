import io

import numpy as np
import pytest
import torch
from PIL import Image as pillow
from rich.console import Console

from sdsr.training.tracking import Tracker


def test_the_bar_shows_speed_time_left_and_the_loss(tmp_path):
    with Tracker(tmp_path, total_steps=40, show=True) as tracker:
        console = Console(file=io.StringIO(), width=160)
        tracker.advance(10, images_per_s=12.345, left_s=3723.0, note="loss 0.1234")
        console.print(tracker._progress)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in ("10/40", "12.3 images/s", "ETA 62 min", "loss 0.1234"):
        assert text in shown


def test_scalars_go_to_a_table_that_a_resumed_run_continues(tmp_path):
    for step in (1, 2):
        with Tracker(tmp_path, total_steps=2, show=False) as tracker:
            tracker.scalars(step, {"loss": 0.5 / step, "discriminator/image": 1e-9})
    lines = (tmp_path / "scalars.csv").read_text().splitlines()
    assert lines == [
        "step,name,value",
        "1,loss,0.5",
        "1,discriminator/image,1e-09",
        "2,loss,0.25",
        "2,discriminator/image,1e-09",
    ]


def test_a_sheet_has_a_row_for_each_photo_and_a_column_for_each_kind(tmp_path):
    with Tracker(tmp_path, total_steps=1, show=False) as tracker:
        tracker.sheet(3, {"small": torch.zeros(2, 3, 4, 4), "large": torch.ones(2, 3, 8, 8) * 2})
    sheet = np.asarray(pillow.open(tmp_path / "sheets" / "step-0000003.png"))
    assert sheet.shape == (16, 16, 3)
    assert sheet[:, :8].max() == 0
    assert sheet[:, 8:].min() == pytest.approx(255)
