"""Names that would get too long are cut, and stay apart."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdsr.batch.naming import fitted, name_limit, text_key

BYTES = st.binary(min_size=1, max_size=251).filter(lambda name: not {0, 47} & set(name))  # no NUL, no slash


def test_a_name_that_fits_stays(tmp_path: Path) -> None:
    assert fitted(tmp_path, "photo", "_x4.jpg") == "photo_x4.jpg"
    assert fitted(tmp_path, "a" * 248, "_x4.jpg") == "a" * 248 + "_x4.jpg"


@pytest.mark.parametrize("stem", ["a" * 250, "山" * 83, "é" * 125, "e\u0301" * 83, "👩\u200d🚀" * 22, "\udcff" * 251])
def test_a_name_that_gets_too_long_is_cut(tmp_path: Path, stem: str) -> None:
    name = fitted(tmp_path / "not" / "there", stem, "_x4.jpg")
    assert name.endswith("_x4.jpg")
    assert name.startswith(stem[:20])
    assert name != fitted(tmp_path, stem[:-1], "_x4.jpg")
    (tmp_path / name).touch()


@given(name=BYTES)
def test_any_name_of_a_photo_gets_one_for_its_result(name: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    result = fitted(folder, os.fsdecode(name), "_x4.jpeg")
    assert len(os.fsencode(result)) <= name_limit(folder)
    assert result == fitted(folder, os.fsdecode(name), "_x4.jpeg")


def test_names_that_some_disk_takes_for_one_have_one_key() -> None:
    assert text_key("É.jpg") == text_key("é.JPG") == text_key("e\u0301.jpg")
    assert text_key("\udcff.jpg") != text_key("\udcfe.jpg")
