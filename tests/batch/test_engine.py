"""A folder restored: the bad photo reported, the rest done, nothing done twice, nothing half-written."""

import gc
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sdsr import job
from sdsr.batch.claims import Claims
from sdsr.batch.desk import Batch
from sdsr.batch.engine import process
from sdsr.batch.entries import Work
from sdsr.batch.items import File
from sdsr.batch.journal import NAME, manifest_of
from sdsr.batch.leasing import Lease
from sdsr.batch.outcome import Outcome
from sdsr.batch.settings import Settings, settings_sha256
from sdsr.batch.walking import Naming, Task, plan
from sdsr.errors import ModelError, OutputError
from sdsr.photos import files
from sdsr.photos.files import read_photo, write_photo
from sdsr.photos.parts import new_part
from sdsr.photos.photo import Photo
from sdsr.upscaling import Request, Upscaler
from tests.batch.loaded import model_of

TWICE = Request(scale=2.0)


def run(tree: Path, upscaler: Upscaler, settings: Settings | None = None) -> dict[str, Outcome]:
    settings = settings or Settings(request=TWICE)
    tasks = plan([tree], Naming(request=settings.request), output=tree.parent / "out")
    outcomes = process(Batch(tasks=tasks, model=model_of(upscaler), settings=settings))
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


def test_changed_settings_and_photos_are_done_again_and_say_so(tree: Path, upscaler: Upscaler) -> None:
    first = run(tree, upscaler)
    assert {outcome.again for outcome in first.values()} == {None}
    with Image.open(tree / "a.png") as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(tree / "a.png")
    second = run(tree, upscaler)
    assert {name: (outcome.status, outcome.again) for name, outcome in second.items()} == {
        "a.jpg": ("skipped", None),
        "a.png": ("done", "the photo changed"),
        "broken.jpg": ("failed", None),
        "sub/b.png": ("skipped", None),
    }
    third = run(tree, upscaler, Settings(request=Request(scale=3.0)))
    assert {outcome.again for outcome in third.values() if outcome.status == "done"} == {"settings or weights changed"}
    assert (third["a.png"].size, third["broken.jpg"].kind) == ((36, 48), "photo")


def test_what_is_not_ours_is_replaced_only_when_told(tree: Path, upscaler: Upscaler) -> None:
    run(tree, upscaler)
    edited, foreign = tree.parent / "out" / "a.png", tree.parent / "out" / "c.png"
    for path in (edited, foreign):
        path.write_bytes(b"somebody's work")
    (tree / "c.png").write_bytes((tree / "a.png").read_bytes())
    refused = run(tree, upscaler)
    assert all("--on-exists" in (refused[name].error or "") for name in ("a.png", "c.png"))
    assert {refused["a.png"].kind, refused["c.png"].kind} == {"output"}
    verified = run(tree, upscaler, Settings(request=TWICE, on_exists="verify"))
    assert (verified["a.png"].again, verified["c.png"].status) == ("its result changed", "failed")
    assert foreign.read_bytes() == b"somebody's work"
    assert run(tree, upscaler, Settings(request=TWICE, on_exists="replace"))["c.png"].status == "done"


def test_damage_that_keeps_size_and_times_is_found_by_verify(tree: Path, upscaler: Upscaler) -> None:
    run(tree, upscaler)
    target = tree.parent / "out" / "sub" / "b.png"
    long_ago = 10**18
    os.utime(target, ns=(long_ago, long_ago))
    run(tree, upscaler)  # which notes its times
    whole = target.read_bytes()
    target.write_bytes(whole[:-1] + b"?")
    os.utime(target, ns=(long_ago, long_ago))
    outcome = run(tree, upscaler, Settings(request=TWICE, on_exists="verify"))["sub/b.png"]
    assert (outcome.status, outcome.again) == ("done", "its result changed")
    assert target.read_bytes() == whole


def test_a_replacement_that_was_cut_off_is_done_again(tree: Path, upscaler: Upscaler) -> None:
    run(tree, upscaler)
    out = tree.parent / "out"
    settings = Settings(request=Request(scale=3.0))
    work = Work.on(File(str(tree / "a.png")), settings_sha256(model_of(upscaler), settings))
    manifest_of(out).begin(File(str(out / "a.png"), "a.png"), work)  # and killed before it was written
    outcome = run(tree, upscaler, settings)["a.png"]
    assert (outcome.status, outcome.again, outcome.size) == ("done", "it was being replaced", (48, 36))


def test_another_version_leaves_what_is_finished(
    tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tree, upscaler)
    monkeypatch.setattr("sdsr.batch.manifest.__version__", "99")
    assert run(tree, upscaler)["a.png"].status == "skipped"
    again = run(tree, upscaler, Settings(request=TWICE, on_exists="replace"))["a.png"]
    assert again.again == "another version made it"


def test_two_with_other_settings_on_one_folder_are_told(tree: Path, upscaler: Upscaler) -> None:
    tasks = plan([tree / "a.png", tree / "sub" / "b.png"], Naming(request=TWICE), output=tree.parent / "out")
    settings = Settings(request=TWICE)
    one = process(Batch(tasks=tasks, model=model_of(upscaler), settings=settings, limit=1))
    assert next(one).status == "done"
    waiting = process(Batch(tasks=tasks[1:], model=model_of(upscaler), settings=settings))
    manifest = manifest_of(tree.parent / "out")
    other = Settings(request=Request(scale=2.0, seed=1))
    (done,) = process(Batch(tasks=tasks[1:], model=model_of(upscaler), settings=other))
    assert done.status == "done"
    assert (tree.parent / "out" / NAME).is_file()
    (outcome,) = waiting  # opened after: a change of settings, as when it is started tomorrow
    assert outcome.again == "settings or weights changed"
    manifest.refresh()
    assert manifest.noted_since(tasks[1].result_name)


def test_no_more_than_the_limit_is_restored(tree: Path, upscaler: Upscaler) -> None:
    tasks = plan([tree], Naming(request=TWICE), output=tree.parent / "out")

    def first(limit: int) -> list[str]:
        settings = Settings(request=TWICE)
        outcomes = process(Batch(tasks=tasks, model=model_of(upscaler), settings=settings, limit=limit))
        return [outcome.status for outcome in outcomes]

    assert first(1) == ["done"]
    assert first(2) == ["skipped", "done", "failed", "done"]


def test_results_of_earlier_runs_are_no_photos_unless_wanted_or_named(
    tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tree / "a_x2.jpg"
    photo = read_photo(tree / "a.jpg")
    write_photo(upscaler.upscale(photo, TWICE), result)
    with monkeypatch.context() as unread:
        unread.setattr(files, "read_photo", lambda source, *_: pytest.fail("decoded") if source == result else photo)
        limits = files.Limits(max_output_pixels=40 * 30), files.Limits(max_input_pixels=20 * 15)
        found = [run(tree, upscaler, Settings(request=TWICE, limits=each))["a_x2.jpg"] for each in limits]
    assert [(outcome.status, outcome.labeled, outcome.size) for outcome in found] == 2 * [("skipped", True, None)]
    outcomes = run(tree, upscaler)
    assert {name for name, outcome in outcomes.items() if outcome.labeled} == {"a_x2.jpg"}
    assert not (tree.parent / "out" / "a_x2.jpg").exists()
    wanted = run(tree, upscaler, Settings(request=TWICE, labeled=True))
    assert {name: wanted[name].status for name in ("a.jpg", "a_x2.jpg")} == {"a.jpg": "skipped", "a_x2.jpg": "done"}
    named = plan([result], Naming(request=TWICE), output=tree.parent / "named")
    (outcome,) = process(Batch(tasks=named, model=model_of(upscaler), settings=Settings(request=TWICE)))
    assert (outcome.status, outcome.labeled) == ("done", False)


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


def test_no_more_photos_are_held_than_are_at_work(tree: Path, upscaler: Upscaler) -> None:
    for number in range(8):
        (tree / f"c{number}.png").write_bytes((tree / "a.png").read_bytes())
    tasks = plan([tree], Naming(request=TWICE), output=tree.parent / "out")
    held: list[int] = []
    before = photos_in_memory()
    for _ in process(Batch(tasks=tasks, model=model_of(upscaler), settings=Settings(request=TWICE))):
        held.append(photos_in_memory() - before)
    assert len(held) == 12
    assert max(held) <= 6, "photo and result of three: being read, restored, written"


def photos_in_memory() -> int:
    """How many there are, those included that other tests left."""
    gc.collect()
    return sum(type(each) is Photo for each in gc.get_objects())


def test_two_at_once_restore_each_photo_once(tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[int] = []
    own = job.Job.run

    def run(self: job.Job) -> files.Photo:
        restored.append(1)
        return own(self)

    monkeypatch.setattr(job.Job, "run", run)
    (tree / "broken.jpg").unlink()
    tasks = plan([tree], Naming(request=TWICE), output=tree.parent / "out")
    model, settings = model_of(upscaler), Settings(request=TWICE)
    other = process(Batch(tasks=tasks, model=model, settings=settings))
    of_other: list[Outcome] = []

    def while_the_first_is_at_work(task: Task, share: float) -> None:
        if task == tasks[0] and 0 < share < 1 and not of_other:
            of_other.append(next(other))

    of_one = list(process(Batch(tasks=tasks, model=model, settings=settings), on_progress=while_the_first_is_at_work))
    of_other += other
    assert len(restored) == len(tasks) == 3
    assert sorted(outcome.status for outcome in of_one + of_other) == ["done"] * 3 + ["skipped"] * 3
    assert {outcome.output for outcome in of_one} == {outcome.output for outcome in of_other}
    assert files_in(tree.parent / "out") == {"a.jpg", "a.png", "sub/b.png", NAME}


def test_what_a_killed_process_began_to_write_is_removed(tree: Path, upscaler: Upscaler) -> None:
    out = tree.parent / "out"
    target = out / "a.png"
    out.mkdir()
    begun = new_part(target)
    others = new_part(target.with_name("foreign.png"))
    for part in (begun, others):
        part.write_bytes(b"half")
    work = Work(input_sha256="0" * 64, settings_sha256="0" * 64)
    manifest_of(out).begin(File(str(target), "a.png"), work)
    run(tree, upscaler)
    assert target.is_file()
    assert not begun.exists()
    assert others.exists()


def test_what_another_leaves_undone_is_done(tree: Path, upscaler: Upscaler) -> None:
    tasks = plan([tree / "a.png"], Naming(request=TWICE), output=tree.parent / "out")
    (tree.parent / "out").mkdir()
    looks: list[float] = []
    others = Claims(tree.parent / "out")
    claim = others.take(tasks[0].result_name)
    assert claim is not None

    def until_the_third_look(task: Task, share: float) -> None:
        looks.append(share)
        if len(looks) == 3:
            claim.release()  # as when the other process fails

    batch = Batch(tasks=tasks, model=model_of(upscaler), settings=Settings(request=TWICE))
    (outcome,) = process(batch, on_progress=until_the_third_look)
    assert outcome.status == "done"
    assert looks[:3] == [0.0, 0.0, 0.0]
    others.close()


def test_who_was_taken_for_dead_leaves_the_photo_to_the_other(
    tree: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Lease] = []
    own = Lease.holds

    def holds(self: Lease) -> bool:
        asked.append(self)
        return len(asked) > 1 and own(self)  # it slept while it restored

    monkeypatch.setattr(Lease, "holds", holds)
    tasks = plan([tree / "a.png"], Naming(request=TWICE), output=tree.parent / "out")
    (outcome,) = process(Batch(tasks=tasks, model=model_of(upscaler), settings=Settings(request=TWICE)))
    assert outcome.status == "done"
    assert asked[0].key == asked[2].key
    assert asked[0] is not asked[2], "it was claimed anew"


def test_where_nothing_is_to_do_no_model_is_loaded(tree: Path, upscaler: Upscaler) -> None:
    run(tree, upscaler)
    tasks = plan([tree], Naming(request=TWICE), output=tree.parent / "out")
    unloadable = replace(model_of(upscaler), load=lambda: pytest.fail("loaded"))
    outcomes = process(Batch(tasks=tasks, model=unloadable, settings=Settings(request=TWICE)))
    assert [outcome.status for outcome in outcomes] == ["skipped", "skipped", "failed", "skipped"]


def test_a_model_that_cannot_be_loaded_is_no_photos_fault(tree: Path, upscaler: Upscaler) -> None:
    def load() -> Upscaler:
        raise ModelError("weights are missing; get them.")

    tasks = plan([tree], Naming(request=TWICE), output=tree.parent / "out")
    model = replace(model_of(upscaler), load=load)
    with pytest.raises(ModelError, match="are missing"):
        list(process(Batch(tasks=tasks, model=model, settings=Settings(request=TWICE))))
    assert not (tree.parent / "out").exists()


def test_equal_settings_are_equal_however_they_are_said(upscaler: Upscaler) -> None:
    model = model_of(upscaler)

    def known(settings: Settings) -> str:
        return settings_sha256(model, settings)

    usual = known(Settings())
    same = (
        Settings(request=Request(scale=4)),
        Settings(on_exists="replace"),
        Settings(request=Request(memory_bytes=1)),
    )
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
    tasks = plan([tree / "sub", tree / name], Naming(request=TWICE), output=out)
    for _ in range(2):
        outcomes = process(Batch(tasks=tasks, model=model_of(upscaler), settings=Settings(request=TWICE)))
        assert {outcome.status for outcome in outcomes} in ({"done"}, {"skipped"})
    assert len(files_in(out)) == 3


def test_a_name_that_cannot_be_is_reported_and_the_rest_go_on(tree: Path, upscaler: Upscaler) -> None:
    out = tree.parent / "out"
    impossible = ("x" * 300 + ".png", "\ud800.png", "/".join(["x" * 200] * 30) + "/a.png", "gone.png")
    tasks = [Task.of(tree / "a.png", out / name, root=out) for name in impossible[:3]]
    tasks += [Task.of(tree / name, out / f"{index}.png", root=out) for index, name in enumerate(impossible)]
    tasks += [Task.of(tree / "a.png", out / "a.png", root=out)]
    outcomes = list(process(Batch(tasks=tasks, model=model_of(upscaler), settings=Settings(request=TWICE))))
    assert [outcome.status for outcome in outcomes] == ["failed"] * 7 + ["done"]
    assert all(outcome.error and ";" in outcome.error for outcome in outcomes[:-1])
    assert files_in(out) == {"a.png", NAME}
