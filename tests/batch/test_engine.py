"""A folder restored: the bad photo reported, the rest done, nothing done twice, nothing half-written."""

from pathlib import Path

import pytest
from PIL import Image

from sdsr.batch.engine import Outcome, Settings, process
from sdsr.batch.manifest import NAME
from sdsr.batch.walking import plan
from sdsr.errors import OutputError
from sdsr.images import files
from sdsr.upscaling import Request, Upscaler

TWICE = Request(scale=2.0)


def run(tree: Path, upscaler: Upscaler, settings: Settings | None = None) -> dict[str, Outcome]:
    settings = settings or Settings(request=TWICE)
    jobs = plan([tree], settings.request, output=tree.parent / "out")
    outcomes = process(jobs, upscaler, settings, on_progress=lambda job, share: None)
    return {Path(outcome.input).relative_to(tree).as_posix(): outcome for outcome in outcomes}


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bad_photo_is_reported_and_the_rest_go_on(tree: Path, upscaler: Upscaler) -> None:
    outcomes = run(tree, upscaler)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "a.jpg": "done",
        "a.png": "done",
        "broken.jpg": "failed",
        "sub/b.png": "done",
    }
    assert "broken.jpg is no photo" in (outcomes["broken.jpg"].error or "")
    assert files_in(tree.parent / "out") == {"a.jpg", "a.png", "sub/b.png", NAME}
    assert outcomes["a.jpg"].size == (32, 24)
    with Image.open(tree.parent / "out" / "a.jpg") as result:
        assert (result.format, result.size) == ("JPEG", (32, 24))


def test_a_second_run_does_only_what_is_missing_or_changed(tree: Path, upscaler: Upscaler) -> None:
    run(tree, upscaler)
    (tree.parent / "out" / "a.png").unlink()
    before = (tree.parent / "out" / "a.jpg").stat().st_mtime_ns
    outcomes = run(tree, upscaler)
    assert [outcomes[name].status for name in ("a.jpg", "a.png", "sub/b.png")] == ["skipped", "done", "skipped"]
    assert (tree.parent / "out" / "a.jpg").stat().st_mtime_ns == before


def test_other_settings_never_overwrite_unless_told(tree: Path, upscaler: Upscaler) -> None:
    run(tree, upscaler)
    other = Request(scale=2.0, seed=1)
    kept = (tree.parent / "out" / "a.png").read_bytes()
    refused = run(tree, upscaler, Settings(request=other))
    assert {outcome.status for outcome in refused.values()} == {"failed"}
    assert "--overwrite" in (refused["a.png"].error or "")
    assert (tree.parent / "out" / "a.png").read_bytes() == kept
    told = run(tree, upscaler, Settings(request=Request(scale=3.0), overwrite=True))
    assert told["a.png"].size == (48, 36)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutputError("the disk is full; free some space.")])
def test_nothing_half_written_is_left(
    tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*args: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(files, "_verify", fail)
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                run(tree, upscaler)
        else:
            assert {outcome.status for outcome in run(tree, upscaler).values()} == {"failed"}
    assert files_in(tree.parent / "out") == {NAME}
    assert run(tree, upscaler)["a.jpg"].status == "done"


def test_too_large_a_result_is_refused_before_decoding(
    tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdsr.batch.engine.read_photo", lambda *args: pytest.fail("decoded"))
    outcomes = run(tree, upscaler, Settings(request=Request(width=250), limits=files.Limits(max_output_pixels=40_000)))
    assert "exceeds 0.04 MP" in (outcomes["a.png"].error or "")
    assert not (tree.parent / "out").exists()
