"""The process that restores, run in this one: what it makes of an order, and a crop that passes a job."""

import io
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as pillow

from sdsr.cli import main as cli
from sdsr.trust.consistency import Consistency
from sdsr.web.abilities import Abilities, abilities_of, noted_abilities
from sdsr.web.lines import Channel
from sdsr.web.restoring import _write_map
from sdsr.web.worker import Bench, Models
from tests.served import SAMPLE
from tests.web.conftest import Indoor

Ordered = Callable[..., dict[str, Any]]


class Heard(Channel):
    """Where a process's messages go."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        self.messages.append(message)

    def names(self, id: str) -> list[str]:
        return [each["event"] for each in self.messages if each["id"] == id]


@pytest.fixture(scope="module")
def models() -> Models:
    return Models("cpu")


@pytest.fixture
def bench(models: Models) -> Bench:
    return Bench(Heard(), models)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the sample photo, 48 x 40 px."""
    path = tmp_path_factory.mktemp("photo") / "a.jpg"
    pillow.open(SAMPLE).crop((40, 40, 88, 80)).save(path, quality=90)
    return path


@pytest.fixture
def ordered(indoor: Indoor, photo: Path) -> Ordered:
    """Posts a job, and returns the order that a process is sent for it."""

    def order(**wishes: Any) -> dict[str, Any]:
        answer = indoor.post("/v1/jobs", files={"photo": ("a.jpg", photo.read_bytes())}, data=wishes)
        assert answer.status_code == 202, answer.text
        job = indoor.service.store.take("crop", "full")
        assert job is not None
        assert job.id == answer.json()["id"]
        return indoor.service.desk._order(job)

    return order


def result(order: dict[str, Any]) -> bytes:
    (file,) = Path(order["folder"]).glob("result.*")
    return file.read_bytes()


def test_what_is_noted_of_models_is_what_their_recipes_say() -> None:
    """Where not: python -m sdsr.web.abilities > sdsr/web/abilities.json"""
    assert noted_abilities() == [abilities_of(each.name) for each in noted_abilities()]


@pytest.mark.parametrize(
    ("wishes", "options"),
    [
        ({"consistent": "true"}, ["--consistent"]),
        ({"protect": ["10,12,20,10", "30,30,9,9"]}, ["--protect", "10,12,20,10", "--protect", "30,30,9,9"]),
        ({"mean_of": "3"}, ["--passes", "3", "--mean"]),
        (
            {"mean_of": "2", "protect": "0,0,20,20", "consistent": "true", "format": "png"},
            ["--passes", "2", "--mean", "--protect", "0,0,20,20", "--consistent", "--format", "png"],
        ),
    ],
    ids=["consistent", "protect", "mean_of", "all of them"],
)
def test_the_file_is_the_one_that_the_command_writes(
    ordered: Ordered,
    bench: Bench,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wishes: dict,
    options: list[str],
) -> None:
    order = ordered(scale="1.5", seed="3", **wishes)
    bench.run(order)
    suffix = "png" if "png" in options else "jpg"
    words = ["upscale", str(photo), "-o", str(tmp_path / f"a.{suffix}"), "--scale", "1.5", "--seed", "3", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["sdsr", *words, "--device", "cpu", *options])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert result(order) == (tmp_path / f"a.{suffix}").read_bytes()


@pytest.mark.parametrize("more", [{}, {"mean_of": "2"}])
def test_it_is_told_how_much_text_is_protected(
    ordered: Ordered, bench: Bench, monkeypatch: pytest.MonkeyPatch, more: dict
) -> None:
    monkeypatch.setattr("sdsr.trust.text.find_text", lambda photo: ())
    bench.run(ordered(protect="text", **more))
    assert isinstance(bench.channel, Heard)
    assert "no text found, so none is protected" in bench.channel.messages[-1]["outcome"]["chosen"]


@pytest.mark.parametrize("more", [{}, {"consistent": "true"}, {"protect": "20,10,9,9"}], ids=str)
def test_a_crop_of_a_mean_is_what_the_whole_shows_there(ordered: Ordered, bench: Bench, more: dict) -> None:
    wishes = {"scale": "2", "mean_of": "5", "format": "png", **more}
    orders = ordered(**wishes), ordered(**wishes, region="20,8,50,31")
    for order in orders:
        bench.run(order)
    whole, crop = (np.asarray(pillow.open(io.BytesIO(result(order)))).astype(int) for order in orders)
    assert np.abs(whole[8:39, 20:70] - crop).max() <= 1


def after_windows(bench: Bench, count: int, act: Callable[[], None]) -> None:
    """Let something happen once a job has had so many windows."""
    let_pass = bench._let_pass
    windows = iter(range(1, 1 << 30))

    def window() -> None:
        if next(windows) == count:
            act()
        let_pass()

    bench._let_pass = window  # pyright: ignore[reportAttributeAccessIssue]


def test_a_crop_passes_a_job_and_both_are_what_they_are_alone(ordered: Ordered, bench: Bench, tmp_path: Path) -> None:
    passing(ordered, bench, tmp_path, {"scale": "2"})


@pytest.mark.service
@pytest.mark.parametrize("model", noted_abilities(), ids=lambda model: model.name)
def test_no_model_keeps_anything_of_a_job_between_its_windows(
    ordered: Ordered, bench: Bench, tmp_path: Path, model: Abilities
) -> None:
    steps = {"steps": str(min(2, model.most_steps))} if model.choice_of_steps else {}
    passing(ordered, bench, tmp_path, {"scale": "2", "model": model.name, **steps})


def passing(ordered: Ordered, bench: Bench, tmp_path: Path, wishes: dict[str, str]) -> None:
    """Let a crop pass a job of the same model, and hold the results against those that were made alone."""
    job = ordered(**wishes, seed="1")
    crop = ordered(**wishes, seed="2", region="20,30,40,50")
    alone = []
    for order in (job, crop):
        (tmp_path / order["id"]).mkdir()
        other = order | {"folder": str(tmp_path / order["id"])}
        bench.run(other)
        alone.append(result(other))
    heard = Heard()
    bench.channel = heard
    after_windows(bench, 2, lambda: bench.orders.put(crop))
    bench.run(job)
    assert heard.names(crop["id"])[-1] == "done"
    ends = [each["id"] for each in heard.messages if each["event"] == "done"]
    assert ends == [crop["id"], job["id"]]
    assert [result(job), result(crop)] == alone


def test_a_bad_crop_costs_its_job_nothing(ordered: Ordered, bench: Bench) -> None:
    job = ordered(scale="1", seed="1")
    crop = ordered(scale="1", region="0,0,9,9") | {"source": "/nowhere/source"}
    after_windows(bench, 1, lambda: bench.orders.put(crop))
    bench.run(job)
    assert heard_of(bench).names(crop["id"]) == ["failed"]
    assert heard_of(bench).names(job["id"])[-1] == "done"


@pytest.mark.parametrize("wishes", [{}, {"mean_of": "3"}], ids=["one", "mean"])
def test_a_cancel_ends_a_job_after_the_window_at_work(ordered: Ordered, bench: Bench, wishes: dict) -> None:
    job = ordered(scale="1", **wishes)
    bench.current.order(job["id"])
    after_windows(bench, 1, lambda: bench.current.cancel(job["id"]))
    bench.run(job)
    assert heard_of(bench).names(job["id"])[-1] == "canceled"
    assert heard_of(bench).names(job["id"]).count("window") <= 1


def test_a_cancel_that_comes_early_waits_for_its_job(ordered: Ordered, bench: Bench) -> None:
    first, second = ordered(scale="1"), ordered(scale="1")
    for order in (first, second):
        bench.current.order(order["id"])
    bench.current.cancel(second["id"])
    bench.current.cancel("one that never came")
    for order in (first, second):
        bench.run(order)
    assert heard_of(bench).names(first["id"])[-1] == "done"
    assert heard_of(bench).names(second["id"])[-1] == "canceled"
    assert (bench.current.jobs, bench.current.unwanted) == ({}, set())


def test_a_job_whose_model_needs_torch_that_is_gone_fails_and_says_so(
    ordered: Ordered, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that waited while the service was installed anew."""
    job = ordered(scale="1", model="stablesr-small")
    monkeypatch.setattr(bench.models, "loaded", OrderedDict())
    monkeypatch.setitem(sys.modules, "torch", None)
    bench.run(job)
    (end,) = heard_of(bench).messages
    assert (end["event"], end["error"]) == ("failed", "ModelError")
    assert "pip install 'sdsr[methods]'" in end["message"]


def heard_of(bench: Bench) -> Heard:
    assert isinstance(bench.channel, Heard)
    return bench.channel


def test_the_map_is_clear_where_true_pictures_differ_too(tmp_path: Path) -> None:
    levels = np.array([[0, 11, 12, 18, 24, 99]], np.float32) / 255
    _write_map(Consistency(map=levels, psnr_db=30.0, kernel_width=1), tmp_path / "map.webp")
    shown = np.asarray(pillow.open(tmp_path / "map.webp"))
    assert shown[0, :, 3].tolist() == pytest.approx([0, 0, 0, 100, 200, 200], abs=1)
    assert set(shown[0, 3:, 0]) == {230}
