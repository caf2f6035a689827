"""Models by name or folder: what is told before anything is loaded or downloaded."""

import shutil
from pathlib import Path

import pytest

from sdsr.errors import ModelError
from sdsr.models import find_model
from sdsr.prior import sources
from sdsr.prior.sources import SOURCES
from sdsr.upscaling import Upscaler


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No prior is here, and whoever asks the network fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "locate", lambda source: None)
    monkeypatch.setattr("sdsr.prior.loading.locate", lambda source: None)
    monkeypatch.setattr(sources, "_unreachable", lambda: pytest.fail("asks the network"))


@pytest.mark.parametrize("prior", ["sd-2.1-base", "sd-turbo"])
def test_another_prior_is_refused_before_it_is_downloaded(prior: str) -> None:
    with pytest.raises(
        ModelError, match=rf"trained on the prior small \(sha256 \w+\), not on {prior}; leave --prior out"
    ):
        Upscaler.from_pretrained("d3sr-small", prior=prior)


def test_the_noted_prior_and_unknown_names_pass() -> None:
    found = find_model("d3sr-small")
    found.check_prior("small")
    found.check_prior("somebody/some-model")


def test_a_damaged_model_is_refused_before_its_prior_is_downloaded(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(find_model("d3sr-small").folder, folder)
    damaged = next(folder.glob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"\.safetensors\) are not those of .* \(sha256 differs\)"):
        Upscaler.from_pretrained(folder, prior="somebody/some-model")
    damaged.unlink()
    with pytest.raises(ModelError, match=r"\.safetensors\) are missing"):
        Upscaler.from_pretrained(folder, prior="somebody/some-model")


def test_the_sha256_of_a_published_prior_is_known_where_all_of_its_files_are() -> None:
    assert {name for name, source in SOURCES.items() if source.sha256} == {"sd-2.1-base", "sd-2.1"}
