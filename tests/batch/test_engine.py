"""A folder restored: the bad photo reported, the rest done, nothing done twice, nothing half-written."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sdsr import job
from sdsr.batch.claims import claimed
from sdsr.batch.engine import Outcome, Settings, process, settings_sha256
from sdsr.batch.manifest import NAME, Manifest, Work
from sdsr.batch.model import Model
from sdsr.batch.walking import Job, plan
from sdsr.errors import ModelError, OutputError
from sdsr.photos import files
from sdsr.photos.parts import new_part
from sdsr.upscaling import Request, Upscaler

TWICE = Request(scale=2.0)


def run(tree: Path, upscaler: Upscaler, settings: Settings | None = None) -> dict[str, Outcome]:
    settings = settings or Settings(request=TWICE)
    jobs = plan([tree], settings.request, output=tree.parent / "out")
    outcomes = process(jobs, Model.of(upscaler), settings, on_progress=lambda job, share: None)
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
    monkeypatch.setattr("sdsr.photos.files.read_photo", lambda *args: pytest.fail("decoded"))
    outcomes = run(tree, upscaler, Settings(request=Request(width=250), limits=files.Limits(max_output_pixels=40_000)))
    assert "exceeds 0.04 MP" in (outcomes["a.png"].error or "")
    assert not (tree.parent / "out").exists()


def test_two_at_once_restore_each_photo_once(tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[int] = []
    own = job.Job.run

    def run(self: job.Job) -> files.Photo:
        restored.append(1)
        return own(self)

    monkeypatch.setattr(job.Job, "run", run)
    (tree / "broken.jpg").unlink()
    jobs = plan([tree], TWICE, output=tree.parent / "out")
    model, settings = Model.of(upscaler), Settings(request=TWICE)
    other = process(jobs, model, settings, on_progress=lambda job, share: None)
    of_other: list[Outcome] = []

    def while_the_first_is_at_work(job: Job, share: float) -> None:
        if job == jobs[0] and 0 < share < 1 and not of_other:
            of_other.append(next(other))

    of_one = list(process(jobs, model, settings, on_progress=while_the_first_is_at_work))
    of_other += other
    assert len(restored) == len(jobs) == 3
    assert [outcome.status for outcome in of_one] == ["done", "skipped", "done"]
    assert [(Path(outcome.input).name, outcome.status) for outcome in of_other] == [
        ("a.png", "done"),
        ("b.png", "skipped"),
        ("a.jpg", "skipped"),
    ]
    assert files_in(tree.parent / "out") == {"a.jpg", "a.png", "sub/b.png", NAME}


def test_what_a_killed_process_began_to_write_is_removed(tree: Path, upscaler: Upscaler) -> None:
    out = tree.parent / "out"
    target = out / "a.png"
    out.mkdir()
    begun = new_part(target)
    others = new_part(target.with_name("foreign.png"))
    for part in (begun, others):
        part.write_bytes(b"half")
    Manifest(out).begin(target, Work(input_sha256="0" * 64, settings_sha256="0" * 64))
    run(tree, upscaler)
    assert target.is_file()
    assert not begun.exists()
    assert others.exists()


def test_what_another_leaves_undone_is_done(tree: Path, upscaler: Upscaler) -> None:
    jobs = plan([tree / "a.png"], TWICE, output=tree.parent / "out")
    (tree.parent / "out").mkdir()
    looks: list[float] = []
    held = ExitStack()
    held.enter_context(claimed(tree.parent / "out", jobs[0].target))

    def until_the_third_look(job: Job, share: float) -> None:
        looks.append(share)
        if len(looks) == 3:
            held.close()  # as when the other process is killed

    (outcome,) = process(jobs, Model.of(upscaler), Settings(request=TWICE), on_progress=until_the_third_look)
    assert outcome.status == "done"
    assert looks[:3] == [0.0, 0.0, 0.0]


def test_where_nothing_is_to_do_no_model_is_loaded(tree: Path, upscaler: Upscaler) -> None:
    run(tree, upscaler)
    jobs = plan([tree], TWICE, output=tree.parent / "out")
    unloadable = replace(Model.of(upscaler), load=lambda: pytest.fail("loaded"))
    outcomes = process(jobs, unloadable, Settings(request=TWICE), on_progress=lambda job, share: None)
    assert [outcome.status for outcome in outcomes] == ["skipped", "skipped", "failed", "skipped"]


def test_a_model_that_cannot_be_loaded_is_no_photos_fault(tree: Path, upscaler: Upscaler) -> None:
    def load() -> Upscaler:
        raise ModelError("weights are missing; get them.")

    jobs = plan([tree], TWICE, output=tree.parent / "out")
    model = replace(Model.of(upscaler), load=load)
    with pytest.raises(ModelError, match="are missing"):
        list(process(jobs, model, Settings(request=TWICE), on_progress=lambda job, share: None))
    assert not (tree.parent / "out").exists()


def test_equal_settings_are_equal_however_they_are_said(upscaler: Upscaler) -> None:
    model = Model.of(upscaler)

    def known(settings: Settings) -> str:
        return settings_sha256(model, settings)

    usual = known(Settings())
    same = (Settings(request=Request(scale=4)), Settings(overwrite=True), Settings(request=Request(memory_bytes=1)))
    assert {known(settings) for settings in same} == {usual}
    others = (Request(scale=2), Request(seed=1), Request(width=64), Request(prompt="\udcff"), Request(steps=2))
    assert len({usual, *(known(Settings(request=request)) for request in others)}) == 1 + len(others)
    assert usual not in (known(Settings(quality=90)), settings_sha256(replace(model, sha256="other"), Settings()))


@pytest.mark.parametrize(
    "name",
    [
        "a" * 250 + ".jpg",
        "山" * 83 + ".png",
        os.fsdecode(b"\xff" * 250 + b".jpg"),
        "a\nb\x1b[31m\u202e.png",
        "💥" * 62 + ".png",
        "..png.jpg.png",
    ],
)
def test_no_name_ends_a_batch(tree: Path, upscaler: Upscaler, name: str) -> None:
    (tree / name).write_bytes((tree / "a.png").read_bytes())
    out = tree.parent / "out"
    jobs = plan([tree / "sub", tree / name], TWICE, output=out)
    for _ in range(2):
        outcomes = process(jobs, Model.of(upscaler), Settings(request=TWICE), on_progress=lambda job, share: None)
        assert {outcome.status for outcome in outcomes} in ({"done"}, {"skipped"})
    assert len(files_in(out)) == 3


def test_a_name_that_cannot_be_is_reported_and_the_rest_go_on(tree: Path, upscaler: Upscaler) -> None:
    out = tree.parent / "out"
    impossible = ("x" * 300 + ".png", "\ud800.png", "/".join(["x" * 200] * 30) + "/a.png", "gone.png")
    jobs = [Job(source=tree / "a.png", target=out / name, root=out) for name in impossible[:3]]
    jobs += [Job(source=tree / name, target=out / f"{index}.png", root=out) for index, name in enumerate(impossible)]
    jobs += [Job(source=tree / "a.png", target=out / "a.png", root=out)]
    outcomes = list(process(jobs, Model.of(upscaler), Settings(request=TWICE), on_progress=lambda job, share: None))
    assert [outcome.status for outcome in outcomes] == ["failed"] * 7 + ["done"]
    assert all(outcome.error and ";" in outcome.error for outcome in outcomes[:-1])
    assert files_in(out) == {"a.png", NAME}
