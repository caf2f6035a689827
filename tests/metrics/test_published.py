"""Scores of OSEDiff's published results against the per-photo scores that its authors published."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sdsr.metrics.benchmark import score

REALSR = Path(__file__).parents[3] / "shared" / "data" / "realsr"


@pytest.mark.skipif(not (REALSR / "osediff").is_dir(), reason=f"needs the published results in {REALSR.name}/osediff")
def test_published_scores_are_reproduced():
    scores = score(REALSR / "osediff", REALSR / "HR")
    with (REALSR / "osediff_published_metrics.csv").open() as lines:
        published = {Path(row["image"]).stem.removesuffix("_LR4"): row for row in csv.DictReader(lines)}
    assert len(scores.names) == 20
    errors = {
        name: np.abs(scores.values[name] - [float(published[photo][name]) for photo in scores.names])
        for name in ("psnr_y", "ssim_y", "niqe")
    }
    assert errors["psnr_y"].max() < 1e-4
    assert errors["ssim_y"].max() < 2e-3
    assert errors["niqe"].max() < 0.2
    assert errors["niqe"].mean() < 0.05
