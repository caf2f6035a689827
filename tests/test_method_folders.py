"""Descriptions of methods' folders, also as they once were."""

import json

import pytest

from sdsr.errors import ModelError
from sdsr.method_folders import DESCRIPTION, FORMAT, read_description

TOLD = {"format": FORMAT, "recipe": "d3sr-small", "prior": "small", "prior_sha256": "", "times": [99], "files": {}}


def test_names_that_earlier_folders_use_are_read(tmp_path):
    told = TOLD | {"inherited": {"controlnet": ["conv_in.weight"]}, "upon": {"folder": "addsr-small"}}
    (tmp_path / DESCRIPTION).write_text(json.dumps(told))
    read = read_description(tmp_path)
    assert read.get("of_prior") == told["inherited"]
    assert read.get("base") == told["upon"]


def test_a_default_of_when_its_unet_had_all_levels_is_read_as_that(tmp_path):
    told = TOLD | {"files": {"unet.safetensors": "", "prompt.safetensors": ""}}
    for noted, read in (
        (told, {"levels": "all"}),
        (told | {"method": {"encoder": "full"}}, {"levels": "all", "encoder": "full"}),
        (told | {"files": {"unet.safetensors": ""}}, {}),
    ):
        (tmp_path / DESCRIPTION).write_text(json.dumps(noted))
        assert read_description(tmp_path).get("method", {}) == read


@pytest.mark.parametrize(
    ("told", "says"),
    [([], "no description"), ({"format": FORMAT}, "doesn't tell files, prior"), (TOLD | {"format": 9}, "must be 1")],
)
def test_what_describes_no_method_is_an_error(tmp_path, told, says):
    (tmp_path / DESCRIPTION).write_text(json.dumps(told))
    with pytest.raises(ModelError, match=says):
        read_description(tmp_path)


def test_what_writes_such_folders_is_said(tmp_path):
    with pytest.raises(
        ModelError, match=r"has no method\.json; give a folder that `sdsr export` or `sdsr convert` wrote"
    ):
        read_description(tmp_path)
