"""The bar that `sdsr upscale` shows in a terminal: it pulses, moves, and says what time is left."""

import io
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from sdsr.batch.desk import Batch
from sdsr.batch.pace import told_time
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Task
from sdsr.cli import upscale_report
from sdsr.upscaling import Upscaler
from tests.batch.loaded import model_of


@pytest.mark.parametrize("photos", [1, 3])
def test_the_bar_says_what_time_is_left(photos: int, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(upscale_report, "Console", partial(Console, force_terminal=True, file=io.StringIO(), width=100))
    monkeypatch.setattr(upscale_report, "mean_pixels", lambda batch: 100.0)
    tasks = [Task.of(Path(f"{number}.png"), Path(f"out/{number}.png")) for number in range(photos)]
    batch = Batch(tasks=tasks, model=model_of(upscaler), settings=Settings())

    def told() -> str:
        console = Console(file=io.StringIO(), width=100)
        console.print(shown.bar.get_renderable())
        assert isinstance(console.file, io.StringIO)
        return " ".join(console.file.getvalue().split())

    with upscale_report._shown_progress(batch, shown=True) as shown:
        shown.begin(tasks[0], 100)
        shown.advance(tasks[0], 0.0)
        assert shown.bar.tasks[0].total is None, "so that it pulses"
        assert "%" not in told()
        for share, spent_s, said in ((0.04, 4, ""), (0.25, 10, f"about {told_time(10 * (4 * photos - 1))} left")):
            now[0] = 1000.0 + spent_s
            shown.advance(tasks[0], share)
            assert f"{share / photos:.0%}" in told()
            assert told().partition("%")[2].strip() == said
        now[0] += 10.0
        assert told().endswith(f"about {told_time(10 * (4 * photos - 2))} left"), "it counts down between windows"
        now[0] += 1000.0
        assert told().endswith("%"), "and says nothing where it was wrong"
