"""Reports: one file that needs no other, figures that agree with JSON, nothing of a name becomes markup."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdsr.errors import OutputError
from sdsr.images.floats import image, quantize
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.reports.page import PROXY_PX, render, write_report
from sdsr.reports.report import Examined, Report, report_on
from sdsr.reports.verdict import verdict
from sdsr.trust.consistency import SLIGHT, STRONG
from sdsr.trust.expected_error import ExpectedError
from sdsr.trust.mask import Calibration
from sdsr.trust.stored import Trust

TRUST = Trust(
    passes=4,
    expected=ExpectedError(weights=(0.7, 0.1, 0.1, 0.0)),
    calibrations=(Calibration(error=0.03, confidence=0.9, threshold=0.05, photos=20),),
    source="20 photos",
    photos_sha256="0" * 64,
    weights_sha256="0" * 64,
)


@pytest.fixture
def result(photo) -> Photo:
    return Photo(pixels=quantize(photo, np.uint8))


@pytest.fixture
def lq(result) -> Photo:
    return Photo(pixels=quantize(resample(image(result), (24, 32)), np.uint8))


def report(
    lq: Photo, result: Photo, name: str = "photo.jpg", text: tuple[Region, ...] | None = (), **maps: Any
) -> Report:
    """A report in which text is as said, whatever a detector takes for it."""
    return replace(report_on(name, lq, result, settings={"seed": "0"}, card="# Card <b>", **maps), text=text)


def examined(result: Photo, passes: int) -> Examined:
    return Examined(passes=passes, spread=np.full(result.size, 0.02, np.float32))


def above(page: str, words: str) -> bool:
    """Whether a page says something before its pictures."""
    return words in page[: page.index('class="stage"')]


class Sources(HTMLParser):
    """Collects what a page asks for, and the text of its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.asked += [value for key, value in attrs if key in {"src", "href"} and value]


def parsed(page: str) -> Sources:
    found = Sources()
    found.feed(page)
    return found


def test_a_page_needs_no_other_file(lq, result):
    page = render(report(lq, result, examined=examined(result, 4), trust=TRUST))
    found = parsed(page)
    assert len(found.asked) == 6
    assert all(source.startswith("data:image/") for source in found.asked)
    assert not re.search(r"@\w+@|url\(|import ", page)


def test_maps_are_there_where_they_can_be(lq, result):
    counts = [
        len(parsed(render(report(lq, result, **maps))).asked) - 2
        for maps in ({}, {"examined": examined(result, 4)}, {"examined": examined(result, 2), "trust": TRUST})
    ]
    assert counts == [1, 2, 2], "a calibration for another number of passes counts for nothing"


def test_the_map_of_contradictions_begins_where_they_mean_something(lq, result):
    at_first = np.full((4, 4), 0.9 * SLIGHT, np.float32)
    at_first[1, 2] = STRONG
    here = report(lq, result)
    page = render(replace(here, consistency=replace(here.consistency, map=at_first)))
    encoded = next(source for source in parsed(page).asked if source.startswith("data:image/png"))
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2]))))
    assert np.argwhere(shown[..., 3]).tolist() == [[1, 2]]
    assert shown[1, 2].tolist() == [255, 0, 0, 217], "all that there is of red"


def test_text_is_shown_where_it_is_and_told_where_it_was_not_looked_for(lq, result):
    page = render(report(lq, result, text=(Region(top=2, left=3, height=4, width=5),)))
    assert len(parsed(page).asked) == 4
    assert "3,2,5,4" in page
    assert "--protect text" in page
    page = render(report(lq, result, text=None))
    assert len(parsed(page).asked) == 3
    assert above(page, "Text was not looked for")


def test_what_text_may_have_become_is_warned_of(lq, result):
    place = Region(top=2, left=3, height=4, width=5)
    (warning,) = report(lq, result, text=None).warnings
    assert "may have been made up or smeared" in warning
    assert "pip install 'sdsr[text]'" in warning
    (warning,) = report(lq, result, text=(place, replace(place, top=8))).warnings
    assert "Text was found (2 x)" in warning
    kept = replace(report(lq, result, text=(place,)), settings={"protected": "0,0,2,2 3,2,5,4 broken"})
    assert kept.warnings == []
    assert report(lq, result, text=()).warnings == []


def test_a_promise_comes_with_what_it_does_not_hold_for(lq, result):
    made = report(lq, result, examined=examined(result, 4), trust=TRUST)
    (warning,) = made.warnings
    assert "a page of text, a screenshot or a drawing" in warning
    assert "promises" in made.figures()


def test_the_verdict_comes_first(lq, result):
    made = report(lq, result, examined=examined(result, 4), trust=TRUST)
    told = verdict(made)
    page = render(made)
    assert above(page, told.split("(")[0])
    assert "does not contradict its photo" in told
    assert "100% of it is promised to be below 7.7 of 255 levels, with 90% confidence" in told
    assert told.endswith("Read the warning below first.")
    assert "contradicts its photo" in verdict(report(lq, Photo(pixels=255 - result.pixels)))
    folded = page.index("<details>"), page.index("</details>")
    assert folded[0] < page.index("consistency: mean difference") < folded[1]


def test_the_strictest_promise_of_most_of_a_result_is_told(lq, result):
    shares = {0.02: 0.0, 0.04: 1.0, 0.06: 1.0}
    several = tuple(
        Calibration(error=error, confidence=0.9, threshold=each, photos=20) for error, each in shares.items()
    )
    made = report(lq, result, examined=examined(result, 4), trust=replace(TRUST, calibrations=several))
    assert "below 10.2 of 255 levels" in verdict(made)
    made = report(lq, result, examined=examined(result, 4), trust=replace(TRUST, calibrations=several[:1]))
    assert "No part of it is promised" in verdict(made)


def test_a_mask_that_is_left_out_says_how_many_passes_it_takes(lq, result):
    made = report(lq, result, examined=examined(result, 2), trust=TRUST)
    reason = "it takes the 4 passes that the model was calibrated with, and there were 2; add --passes 4"
    assert made.figures()["no_mask"] == reason
    assert made.warnings == [f"No mask is shown: {reason}."]
    assert reason in verdict(made)


def test_no_name_and_no_card_becomes_markup(lq, result):
    page = render(report(lq, result, name="<script>alert(1)</script>.jpg"))
    assert parsed(page).tags.count("script") == 1
    assert "<b>" not in page


def test_the_json_says_the_same(lq, result, tmp_path):
    made = report(lq, result, examined=examined(result, 4), trust=TRUST)
    write_report(made, tmp_path / "a.html")
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["name"] == "photo.jpg"
    assert figures["verdict"] == verdict(made)
    assert figures["consistency"]["low"] is False
    assert figures["disagreement"] == {"passes": 4, "mean": pytest.approx(5.1, abs=0.01)}
    assert 0 < figures["promises"][0]["unmasked_share"] <= 1
    assert str(figures["consistency"]["mean_difference"]) in (tmp_path / "a.html").read_text()


def test_a_contradiction_is_told(lq, result):
    inverted = Photo(pixels=255 - result.pixels)
    made = report(lq, inverted)
    assert made.consistency.low
    assert "contradicts its photo" in render(made)


def test_large_results_are_shown_at_screen_size(result):
    large = Photo(pixels=np.tile(result.pixels, (20, 30, 1)))
    small = Photo(pixels=np.ascontiguousarray(large.pixels[::4, ::4]))
    page = render(report(small, large))
    assert f"max-width: {PROXY_PX}px" in page
    assert len(page) < 3_000_000


def test_a_place_that_cannot_be_written_is_named(lq, result, tmp_path):
    with pytest.raises(OutputError, match="can't be written"):
        write_report(report(lq, result), tmp_path / "no" / "a.html")
