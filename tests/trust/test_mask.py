"""The mask: its bound holds as often as it says, the threshold is the largest, what can't be promised is masked."""

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.trust.mask import THRESHOLDS, calibrate, is_below, risk_curve, unmasked


def photos(count: int, seed: int, scale: float = 1.0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Maps of expected errors, and true ones that scatter around them."""
    rng = np.random.default_rng(seed)
    expected = [rng.lognormal(np.log(0.03), 0.8, (12, 12)) * rng.lognormal(0, 0.2) for _ in range(count)]
    errors = [scale * each * rng.lognormal(-0.08, 0.4, each.shape) for each in expected]
    return expected, errors


def upper_bound(losses: np.ndarray, delta: float) -> float:
    """Return what the mean of losses in 0 ... 1 stays below with probability 1 - `delta`."""
    low = 0.0
    high = 1.0
    if not is_below(losses, high, delta):
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if is_below(losses, middle, delta) else (middle, high)
    return high


@pytest.mark.parametrize(("mean", "delta"), [(0.05, 0.1), (0.3, 0.1), (0.05, 0.4)])
def test_the_bound_holds_as_often_as_it_says(mean, delta):
    rng = np.random.default_rng(0)
    draws = rng.beta(2, 2 / mean - 2, (300, 40))
    above = np.mean([upper_bound(losses, delta) >= mean for losses in draws])
    assert above >= 1 - delta - 0.03


def test_more_photos_give_a_nearer_bound():
    rng = np.random.default_rng(0)
    near = [upper_bound(rng.beta(2, 38, count), 0.1) for count in (20, 80, 320)]
    assert near[0] > near[1] > near[2] > 0.05


def test_the_risk_never_falls_and_ends_at_the_mean():
    expected, errors = photos(1, 0)
    curve = risk_curve(expected[0], errors[0])
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] >= errors[0].mean() - 1e-9
    assert curve[0] <= curve[-1] / 3


def test_the_promise_is_kept_on_other_photos():
    kept, shares = [], []
    for seed in range(40):
        found = calibrate(*photos(40, seed), error=0.03, confidence=0.9)
        expected, errors = photos(60, 1000 + seed)
        open_cells = [unmasked(each, found.threshold) for each in expected]
        risks = [error[cells].mean() if cells.any() else 0 for error, cells in zip(errors, open_cells, strict=True)]
        kept.append(np.mean(risks) < 0.03)
        shares.append(np.mean([cells.mean() for cells in open_cells]))
    assert np.mean(kept) >= 0.9
    assert np.mean(shares) > 0.5, "a mask over everything keeps any promise"


def test_worse_photos_leave_less_unmasked():
    thresholds = [calibrate(*photos(40, 0, scale), error=0.03, confidence=0.9).threshold for scale in (1, 2)]
    assert thresholds[0] > thresholds[1]


def test_what_cannot_be_promised_is_masked():
    expected, errors = photos(20, 0)
    found = calibrate(expected, [np.full_like(error, 0.2) for error in errors], error=0.03, confidence=0.9)
    assert found.threshold < THRESHOLDS[60]
    assert sum(unmasked(each, found.threshold).sum() for each in expected) < 5


def test_too_few_photos_and_impossible_wishes_are_refused():
    with pytest.raises(InputError, match=r"photos \(=9\) must be at least 10"):
        calibrate(*photos(9, 0), error=0.03, confidence=0.9)
    with pytest.raises(InputError, match=r"confidence \(=1.5\) must be between 0 and 1"):
        calibrate(*photos(12, 0), error=0.03, confidence=1.5)
