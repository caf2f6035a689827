"""Blind rankings: crops are the files' pixels, letters tell nothing, and standings are what was ranked."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import blind
from bench.blind_rankings import (
    BICUBIC,
    Meeting,
    blind_sheets,
    mean_places,
    meetings,
    read_rankings,
    standings_lines,
)
from sdsr.errors import InputError
from sdsr.metrics.anchors import bicubic

LABELS = ("one", "two", "three")


@pytest.fixture
def folders(tmp_path):
    """Six LQ photos of 24 px, and results of 96 px whose gray tells the folder; folder three has every other photo."""
    rng = np.random.default_rng(0)
    for index in range(6):
        save(tmp_path / "LR" / f"p{index}_LR4.png", rng.integers(0, 256, (24, 24, 3)))
        save(tmp_path / "HR" / f"p{index}_HR.png", np.full((96, 96, 3), 200))
        for gray, label in enumerate(LABELS):
            if label != "three" or index % 2 == 0:
                save(tmp_path / label / f"p{index}.png", np.full((96, 96, 3), 10 + 20 * gray))
    return tmp_path


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def sheets_of(folders: Path, **options):
    results = {label: folders / label for label in LABELS}
    return list(blind_sheets(folders / "LR", results, crop_px=32, **options))


def cell(image: Image.Image, index: int, across: int) -> np.ndarray:
    """The pixels of a cell: gaps of 8 px, a label of 22 px below."""
    left, top = 8 + index % across * 40, 8 + index // across * 62
    return np.asarray(image)[top : top + 32, left : left + 32]


def test_each_letter_stands_over_its_own_pixels(folders):
    for sheet in sheets_of(folders, rng=random.Random(0), every=1):
        expected = {BICUBIC, "one", "two"} | ({"three"} if int(sheet.name[1]) % 2 == 0 else set())
        assert set(sheet.letters.values()) == expected
        assert list(sheet.letters) == list("ABCD")[: len(expected)]
        for index, label in enumerate(sheet.letters.values()):
            found = cell(sheet.image, index, across=2)
            if label != BICUBIC:
                assert (found == 10 + 20 * LABELS.index(label)).all()
                continue
            enlarged = bicubic(folders / "LR" / f"{sheet.name}_LR4.png")
            places = [(top, left) for top in range(0, 65, 8) for left in range(0, 65, 8)]
            assert any((enlarged[top : top + 32, left : left + 32] == found).all() for top, left in places)


def test_the_order_changes_from_photo_to_photo_and_with_the_seed(folders):
    first, again, other = (
        [tuple(sheet.letters.values()) for sheet in sheets_of(folders, rng=random.Random(seed), every=1)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert len(set(first)) > 2


def test_every_so_many_photos_and_the_truth_first(folders):
    sheets = sheets_of(folders, rng=random.Random(0), every=5, truth=folders / "HR")
    assert [sheet.name for sheet in sheets] == ["p0", "p5"]
    assert (cell(sheets[0].image, 0, across=3) == 200).all()
    assert "truth" not in sheets[0].letters.values()


def test_a_result_of_another_size_is_refused(folders):
    save(folders / "one" / "p0.png", np.zeros((48, 48, 3)))
    with pytest.raises(InputError, match="48x48 px and four times its LQ photo 96x96"):
        sheets_of(folders, rng=random.Random(0))


@pytest.mark.parametrize(
    "text",
    [
        '{"p0": "B A=D C", "p1": ["C", "B"]}',
        "photo,order\np0,B A=D C\np1,C B\n",
        'photo, order\np0, "b, a=d, c"\np1, C B\n',
    ],
)
def test_rankings_read_alike_from_json_and_csv(text):
    assert read_rankings(text) == {"p0": (("B",), ("A", "D"), ("C",)), "p1": (("C",), ("B",))}


@pytest.mark.parametrize("text", ['{"p0": "A A"}', '{"p0": ""}', '{"p0": "AB"}', "{nonsense", "letters\nA B\n", ""])
def test_nonsense_is_refused(text):
    with pytest.raises(InputError):
        read_rankings(text)


def test_standings_count_wins_ties_and_photos():
    key = {"p0": {"A": "old", "B": "new"}, "p1": {"A": "new", "B": "old", "C": "other"}}
    rankings = read_rankings('{"p0": "B A", "p1": "A=C B"}')
    met = meetings(rankings, key)
    assert met["new", "old"] == Meeting(before=2)
    assert met["old", "new"] == Meeting(behind=2)
    assert met["new", "other"] == Meeting(equal=1)
    assert met["new", "old"].photos == 2
    assert mean_places(rankings, key) == {"new": 1.25, "other": 1.5, "old": 2.5}
    head, *rows = standings_lines(rankings, key)
    assert head == ["result", "mean place", "before new", "before other", "before old"]
    assert rows[0] == ["new", "1.25", "", "0=1/1", "2=0/2"]


@pytest.mark.parametrize(("order", "what"), [({"p9": "A B"}, "p9"), ({"p0": "A"}, "A B"), ({"p0": "A B C"}, "A B")])
def test_a_ranking_that_does_not_fit_the_key_is_refused(order, what):
    with pytest.raises(InputError, match=what):
        meetings(read_rankings(json.dumps(order)), {"p0": {"A": "old", "B": "new"}})


def run(*arguments: object) -> None:
    blind.main(list(map(str, arguments)))


def test_the_script_hides_the_key_and_joins_it(folders, capsys):
    lay = ("lay", folders / "LR", *(folders / label for label in LABELS), "--crop", 32)
    with pytest.raises(SystemExit, match="would be seen"):
        run(*lay, "--sheets", folders / "sheets", "--key", folders / "sheets" / "key.json")
    run(*lay, "--sheets", folders / "sheets", "--key", folders / "key.json")
    content = (folders / "key.json").read_bytes()
    assert f"2 sheets in {folders / 'sheets'}; sha256 of the key: {hashlib.sha256(content).hexdigest()}" in (
        capsys.readouterr().out
    )
    assert sorted(path.name for path in (folders / "sheets").iterdir()) == ["p0.png", "p5.png"]
    with pytest.raises(SystemExit, match="choose a new folder"):
        run(*lay, "--sheets", folders / "sheets", "--key", folders / "key2.json")
    key = json.loads(content)["photos"]
    ranking = {name: " ".join(sorted(letters, key=lambda at: letters[at])) for name, letters in key.items()}
    (folders / "ranking.json").write_text(json.dumps(ranking))
    run("join", folders / "ranking.json", folders / "key.json")
    assert capsys.readouterr().out.splitlines()[2].startswith("| bicubic | 1.00 ")
