"""What a batch would take, told before anything is written."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdsr.batch.desk import Batch
from sdsr.batch.engine import process
from sdsr.batch.estimate import Estimate, estimate
from sdsr.batch.settings import Settings
from sdsr.batch.walking import Naming, plan
from sdsr.errors import OutputError
from sdsr.photos.files import read_photo, write_photo
from sdsr.upscaling import Request, Upscaler
from tests.batch.loaded import model_of


def test_an_estimate_counts_what_is_left(tree: Path, upscaler: Upscaler) -> None:
    settings = Settings(request=Request(scale=2.0))
    tasks = plan([tree], Naming(request=settings.request), output=tree.parent / "out")
    model = model_of(upscaler)
    now = iter(float(second) for second in range(1000))
    found = estimate(Batch(tasks=tasks, model=model, settings=settings), clock=lambda: next(now))
    assert not (tree.parent / "out").exists()
    assert (found.photos, found.finished, found.to_do, found.unreadable) == (4, 0, 4, 1)
    (complaint,) = found.complaints
    assert complaint.startswith(f"{tree / 'broken.jpg'} is no photo")
    assert found.megapixels_out == pytest.approx(3 * 32 * 24 / 1e6, abs=1e-3)
    assert found.seconds == 3.0, "a second for each of three photos of one size"
    assert found.disk_bytes is not None
    assert found.disk_bytes > 3 * 32 * 24
    list(process(Batch(tasks=tasks[:2], model=model, settings=settings)))
    later = estimate(Batch(tasks=tasks, model=model, settings=settings, limit=1))
    assert (later.finished, later.to_do, later.unreadable) == (2, 1, 1)
    assert later.seconds is None, "nothing that is left can be probed"
    found.check()
    with pytest.raises(OutputError, match=r"and 1\.0 kB are free"):
        replace(found, free_bytes=1000).check()


def test_results_of_earlier_runs_are_counted_apart(tree: Path, upscaler: Upscaler) -> None:
    settings = Settings(request=Request(scale=2.0))
    write_photo(upscaler.upscale(read_photo(tree / "a.jpg"), settings.request), tree / "a_x2.jpg")
    tasks = plan([tree], Naming(request=settings.request))
    found = estimate(Batch(tasks=tasks, model=model_of(upscaler), settings=settings))
    assert (found.to_do, found.unreadable, found.labeled) == (5, 1, 1)
    assert found.megapixels_out == pytest.approx(3 * 32 * 24 / 1e6, abs=1e-3)
    wanted = estimate(Batch(tasks=tasks, model=model_of(upscaler), settings=replace(settings, labeled=True)))
    assert (wanted.unreadable, wanted.labeled) == (1, 0)


def test_a_sample_stands_for_all(tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdsr.batch.estimate._SAMPLE", 2)
    for number in range(6):
        (tree / f"c{number}.png").write_bytes((tree / "a.png").read_bytes())
    (tree / "broken.jpg").unlink()
    settings = Settings(request=Request(scale=2.0))
    tasks = plan([tree], Naming(request=settings.request))
    found: Estimate = estimate(Batch(tasks=tasks, model=model_of(upscaler), settings=settings))
    assert (found.to_do, found.sampled, found.unreadable) == (9, 2, 0)
    assert found.megapixels_out == pytest.approx(9 * 32 * 24 / 1e6, abs=1e-3)
