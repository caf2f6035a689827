"""The study of trust: ranks with ties, promises kept in halvings, the command from photos to the stored file."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage
from scipy.stats import spearmanr
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.errors import InputError, ModelError
from sdsr.models import find_model
from sdsr.photos.photo import Photo
from sdsr.restoration.passes import Passes
from sdsr.studies.examined import Archive, Examined, examine
from sdsr.studies.samples import Sample, middle_of_pair
from sdsr.studies.trust import (
    calibrated_with,
    check,
    kept_in_splits,
    rank_correlations,
    spearman,
    weighed,
)
from sdsr.trust.expected_error import Clues
from sdsr.trust.stored import FILE, read_trust


def examined(count: int, seed: int = 0) -> list[Examined]:
    """Photos whose error follows disagreement, and busyness a little."""
    rng = np.random.default_rng(seed)
    photos = []
    for index in range(count):
        disagreement, consistency, busyness = (rng.lognormal(np.log(0.04), 0.8, (10, 12)) for _ in range(3))
        error = disagreement**0.8 * busyness**0.2 * rng.lognormal(0, 0.3, (10, 12))
        clues = Clues(disagreement=disagreement, consistency=consistency, busyness=busyness)
        photos.append(Examined(name=str(index), clues=clues, error=error))
    return photos


def test_equal_values_share_their_rank():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, 200).astype(float), rng.integers(0, 9, 200).astype(float)
    assert spearman(first, second + first) == pytest.approx(spearmanr(first, second + first)[0])


def test_the_expected_error_ranks_best_and_promises_are_kept():
    photos = examined(60)
    expected, rest = weighed(photos)
    assert len(rest) == 45
    calibration = calibrated_with(expected, rest, error=0.03, confidence=0.9)
    medians = {name: np.median(values) for name, values in rank_correlations(photos, expected).items()}
    assert max(medians, key=lambda name: medians[name]) == "expected error"
    assert medians["expected error"] > medians["disagreement"] + 0.02 > medians["consistency"] + 0.3
    kept = check(examined(40, seed=1), expected, calibration)
    assert kept.risk < 0.03 < kept.whole
    assert kept.share > 0.3
    assert kept_in_splits(expected, photos, error=0.03, confidence=0.9, splits=30) >= 0.9


def test_too_few_photos_are_refused():
    with pytest.raises(InputError, match=r"photos \(=12\) must be at least 20"):
        weighed(examined(12))


def test_what_was_examined_is_not_restored_again(tmp_path):
    rng = np.random.default_rng(0)
    lq, truth = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8), rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
    sample = Sample(name="a", lq=lambda: Photo(pixels=lq), truth=lambda: truth)
    asked = []

    def run(photo: Photo) -> Passes:
        asked.append(photo)
        first = Photo(pixels=photo.pixels.repeat(4, 0).repeat(4, 1))
        return Passes(first=first, mean=first, spread=rng.random(first.size, dtype=np.float32))

    archive = Archive(folder=tmp_path / "kept", run="weights 1")
    (once,) = examine([sample], run, archive=archive)
    (again,) = examine([sample], run, archive=archive)
    assert len(asked) == 1
    np.testing.assert_array_equal(again.error, once.error)
    for clue in ("disagreement", "consistency", "busyness"):
        np.testing.assert_array_equal(getattr(again.clues, clue), getattr(once.clues, clue))
    examine([sample], run, archive=replace(archive, run="weights 2"))
    examine([replace(sample, truth=lambda: truth[::-1])], run, archive=archive)
    assert len(asked) == 3
    assert not list(tmp_path.rglob("*.part"))


def test_the_middle_of_a_pair_shows_one_place():
    truth = np.random.default_rng(0).integers(0, 256, (92, 132, 3), dtype=np.uint8)  # 23 x 33 px given
    pair = Sample(name="a", lq=lambda: Photo(pixels=truth[::4, ::4]), truth=lambda: truth)
    middle = middle_of_pair(pair, 32, 4)
    assert middle.truth().shape == (32, 32, 3)
    np.testing.assert_array_equal(middle.lq().pixels, middle.truth()[::4, ::4])
    with pytest.raises(InputError, match=r"crop \(=30\) px must be a multiple of the scale 4; try 28"):
        middle_of_pair(pair, 30, 4)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert read_trust(tmp_path) is None
    (tmp_path / FILE).write_text('{"format": 9}')
    with pytest.raises(ModelError, match=r"trust\.json can't be read .*study trust"):
        read_trust(tmp_path)


def test_the_command_tells_and_stores_what_it_found(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(20):
        small = PillowImage.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((48, 48), PillowImage.Resampling.BICUBIC).save(tmp_path / "photos" / f"{index}.png")
    shutil.copytree(find_model("d3sr-small").folder, tmp_path / "model")
    arguments = ["study", "trust", str(tmp_path / "model"), str(tmp_path / "photos"), "--passes", "2", "--write"]
    arguments += ["--keep", str(tmp_path / "kept")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "gradient energy" in result.output
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 20
    assert "no halvings of 15 photos, which take 20" in result.output
    found = read_trust(tmp_path / "model")
    assert found is not None
    assert found.passes == 2
    assert found.weights_sha256 == find_model(tmp_path / "model").weights_sha256
    assert len(found.calibrations) == len(found.checked) == 3
