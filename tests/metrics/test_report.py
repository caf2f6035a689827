import csv
import io
import json

import pytest

from sdsr.metrics import report
from sdsr.metrics.anchors import score_anchors
from sdsr.metrics.benchmark import score
from sdsr.metrics.protocol import PROTOCOLS


@pytest.fixture
def scores(folders):
    return score(folders / "out", folders / "HR")


def test_markdown_names_protocol_warning_and_anchors(folders, scores):
    anchors = score_anchors(folders / "LR", folders / "HR", PROTOCOLS["realisr-y"])
    text = report.markdown({"mine": scores, **anchors})
    assert text.startswith("Protocol realisr-y: ")
    assert report.WARNING in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["mine", *anchors]
    psnr = scores.protocol.measures[0]
    low, high = scores.interval(psnr)
    assert f"| {scores.of(psnr):.2f} ({low:.2f} to {high:.2f}) |" in lines[2]


def test_json_holds_figures_under_their_names(scores):
    content = json.loads(report.table_json({"mine": scores}, {"again": scores}))
    assert content["protocol"] == "realisr-y"
    assert content["n"] == 3
    for measure in scores.protocol.measures:
        assert content[measure.name] == pytest.approx(scores.of(measure))
        low, high = content["intervals"][measure.name]
        assert low <= content[measure.name] <= high
    assert content["anchors"]["again"]["ssim_y"] == content["ssim_y"]
    assert set(content["photos"]) == set(scores.names)


def test_what_has_no_value_is_null_and_a_dash(folders):
    scores = score(folders / "LR")
    assert json.loads(report.table_json({"small": scores}))["niqe"] is None
    assert "| -  " in report.markdown({"small": scores})


def test_csv_has_a_line_for_each_photo(scores):
    rows = list(csv.DictReader(io.StringIO(report.table_csv({"mine": scores}))))
    assert [(row["results"], row["photo"]) for row in rows] == [("mine", name) for name in scores.names]
    assert float(rows[1]["ssim_y"]) == pytest.approx(scores.values["ssim_y"][1], abs=1e-6)
    assert rows[0]["protocol"] == "realisr-y"


def test_several_results_stand_side_by_side_with_their_ranks(scores):
    rows, ranks = {"a": scores, "b": scores}, {"a": 1.5, "b": 1.5}
    lines = [line for line in report.markdown({**rows, "bicubic": scores}, ranks).splitlines() if line.startswith("|")]
    assert [line.split("|")[-2].strip() for line in lines if "--" not in line] == ["mean rank ↓", "1.50", "1.50", "-"]
    content = json.loads(report.table_json(rows, ranks=ranks))
    assert content["results"]["b"]["psnr_y"] == pytest.approx(scores.of(scores.protocol.measures[0]))
    assert content["mean_ranks"] == ranks
    assert len(report.table_csv(rows).splitlines()) == 1 + 2 * 3
