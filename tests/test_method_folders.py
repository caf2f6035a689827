"""Descriptions of methods' folders, also as they once were."""

import json

from sdsr.method_folders import DESCRIPTION, FORMAT, read_description


def test_names_that_earlier_folders_use_are_read(tmp_path):
    told = {"format": FORMAT, "recipe": "seesr-small", "files": {}}
    told |= {"inherited": {"controlnet": ["conv_in.weight"]}, "upon": {"folder": "addsr-small"}}
    (tmp_path / DESCRIPTION).write_text(json.dumps(told))
    read = read_description(tmp_path)
    assert read.get("of_prior") == told["inherited"]
    assert read.get("base") == told["upon"]


def test_a_default_of_when_its_unet_had_all_levels_is_read_as_that(tmp_path):
    told = {"format": FORMAT, "recipe": "d3sr-small", "files": {"unet.safetensors": "", "prompt.safetensors": ""}}
    for noted, read in (
        (told, {"levels": "all"}),
        (told | {"method": {"encoder": "full"}}, {"levels": "all", "encoder": "full"}),
        (told | {"files": {"unet.safetensors": ""}}, {}),
    ):
        (tmp_path / DESCRIPTION).write_text(json.dumps(noted))
        assert read_description(tmp_path).get("method", {}) == read
