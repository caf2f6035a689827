import numpy as np
import pytest
from PIL import Image as PillowImage

from sdsr.errors import InputError
from sdsr.metrics.comparison import Choice, compare_photos
from sdsr.tensors import Region


def test_columns_are_lq_results_and_truth(folders):
    sheet = compare_photos(
        [folders / "out"], lq=folders / "LR", truth=folders / "HR", choice=Choice(count=2), cell_px=192
    )
    assert sheet.width == 3 * 200 + 8
    with PillowImage.open(folders / "HR" / "Canon_000_HR.png") as truth:
        shown = np.asarray(sheet.crop((8 + 400, 8, 8 + 592, 200)))
        assert (shown == np.asarray(truth)).all(-1).mean() > 0.97
    assert sheet.height == 2 * (200 + 222) + 8


def test_region_and_names_can_be_chosen(folders):
    choice = Choice(names=("Canon_002",), region=Region(top=0, left=0, height=96, width=96))
    sheet = compare_photos([folders / "HR"], choice=choice, cell_px=96)
    with PillowImage.open(folders / "HR" / "Canon_002_HR.png") as truth:
        expected = np.asarray(truth.crop((0, 0, 96, 96)))
    np.testing.assert_array_equal(np.asarray(sheet.crop((8, 112, 104, 208))), expected)


def test_single_photos_need_no_common_name(folders):
    lq, result = folders / "LR" / "Canon_001_LR4.png", folders / "out" / "Canon_001_x4.png"
    renamed = result.rename(folders / "restored.png")
    assert compare_photos([renamed], lq=lq, cell_px=64).size == (2 * 72 + 8, 72 + 94 + 8)


def test_folders_without_common_photos_and_unknown_names_are_errors(folders):
    with pytest.raises(InputError, match="Canon_009"):
        compare_photos([folders / "out"], choice=Choice(names=("Canon_009",)))
    (folders / "other").mkdir()
    (folders / "HR" / "Canon_000_HR.png").rename(folders / "other" / "x.png")
    with pytest.raises(InputError, match="in common"):
        compare_photos([folders / "out", folders / "other"])
