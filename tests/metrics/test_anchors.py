import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.metrics.anchors import bicubic, grain, score_anchors
from sdsr.metrics.planes import plane
from sdsr.metrics.protocol import PROTOCOLS


def test_grain_is_gray_of_sigma_2_and_the_same_each_time(folders):
    path = folders / "LR" / "Canon_000_LR4.png"
    smooth, grainy = bicubic(path), grain(path)
    assert smooth.shape == grainy.shape == (192, 192, 3)
    flat = (plane(grainy, "luma") - plane(smooth, "luma"))[10:-10, 10:80]
    assert flat.std() == pytest.approx(2, rel=0.1)
    np.testing.assert_array_equal(grainy, grain(path))
    assert (grainy != grain(folders / "LR" / "Canon_001_LR4.png")).any()


def test_grain_wins_by_niqe_and_fails_in_flat_places(folders):
    anchors = score_anchors(folders / "LR", folders / "HR", PROTOCOLS["realisr-y"])
    plain, itself, grainy = anchors.values()
    measures = {measure.name: measure for measure in plain.protocol.measures}
    assert itself.of(measures["psnr_y"]) == pytest.approx(80)
    assert grainy.of(measures["niqe"]) < plain.of(measures["niqe"])
    assert grainy.of(measures["hf_flat"]) > 1 > plain.of(measures["hf_busy"])


def test_anchors_can_be_of_the_photos_at_hand(folders):
    scores = score_anchors(folders / "LR", folders / "HR", PROTOCOLS["rgb"], names=["Canon_002"])
    assert all(row.names == ("Canon_002",) for row in scores.values())


def test_each_photo_needs_its_lq(folders):
    (folders / "LR" / "Canon_001_LR4.png").unlink()
    with pytest.raises(InputError, match="no photo Canon_001"):
        score_anchors(folders / "LR", folders / "HR", PROTOCOLS["rgb"])
