"""Descriptions of methods' folders, also as they once were."""

import json

from sdsr.method_folders import DESCRIPTION, FORMAT, read_description


def test_names_that_earlier_folders_use_are_read(tmp_path):
    told = {"format": FORMAT, "inherited": {"controlnet": ["conv_in.weight"]}, "upon": {"folder": "addsr-small"}}
    (tmp_path / DESCRIPTION).write_text(json.dumps(told))
    read = read_description(tmp_path)
    assert read.get("of_prior") == told["inherited"]
    assert read.get("base") == told["upon"]
