"""Shards: each photo in just one of them, on every machine alike, and about as many in each."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdsr.batch.shards import Shard
from sdsr.batch.walking import Task
from sdsr.errors import InputError


@given(st.text(min_size=1), st.integers(1, 20))
def test_each_name_is_in_just_one_shard(name: str, count: int) -> None:
    assert sum(Shard(number=number, count=count).holds(name) for number in range(1, count + 1)) == 1


def test_a_name_is_in_the_same_shard_for_good() -> None:
    shards = [Shard(number=number, count=4) for number in range(1, 5)]
    found = [
        next(shard.number for shard in shards if shard.holds(name)) for name in ("a.jpg", "sub/b.png", "\udcff.jpg")
    ]
    assert found == [3, 4, 1]


def test_letters_may_be_composed_either_way() -> None:
    for name in ("schöne/Ångström.jpg", "é.png"):
        shards = [Shard(number=number, count=97) for number in range(1, 98)]
        forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
        assert [shard.number for shard in shards if shard.holds(forms[0])] == [
            shard.number for shard in shards if shard.holds(forms[1])
        ]


def test_shards_are_about_as_large() -> None:
    shard = Shard(number=3, count=8)
    assert 100 < sum(shard.holds(f"{number}.jpg") for number in range(1000)) < 150


def test_tasks_are_parted_by_their_place_below_the_folder_of_results() -> None:
    for root in (Path("/mnt/one/out"), Path("elsewhere")):
        tasks = [Task.of(Path(f"{n}.png"), root / "sub" / f"{n}.png", root=root) for n in range(20)]
        ours = Shard(number=1, count=2).of(tasks)
        assert [int(task.source.stem) for task in ours] == [
            n for n in range(20) if Shard(number=1, count=2).holds(f"sub/{n}.png")
        ]
        assert 0 < len(ours) < 20


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/4/2", "1 / 4"])
def test_another_shard_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"shard \(=.*\) must be K/N with 1 <= K <= N"):
        Shard.parse(text)
    assert Shard.parse("4/4") == Shard(number=4, count=4)
