"""The rows of the picture that shows where the default's promise fails."""

import torch

from bench.trust_failures import SIDE_PX, Case, line, look, row
from sdsr.models import DEFAULT_MODEL, find_model
from sdsr.trust.stored import read_trust
from sdsr.upscaling import Upscaler


def test_a_case_is_shown_with_its_errors_and_what_is_masked():
    trust = read_trust(find_model(DEFAULT_MODEL).folder)
    assert trust is not None
    truth = torch.ones(1, 3, SIDE_PX, SIDE_PX)
    truth[..., SIDE_PX // 2 :, :] = torch.rand(1, 3, SIDE_PX // 2, SIDE_PX, generator=torch.Generator().manual_seed(0))
    case = Case(kind="half noise", truth=truth, seed=2, left=0, top=0)
    seen = look(
        case, Upscaler.from_pretrained(DEFAULT_MODEL), trust, max(trust.calibrations, key=lambda each: each.error)
    )
    upper, lower = seen.error[: len(seen.error) // 2], seen.error[len(seen.error) // 2 :]
    assert upper.mean() < 0.1 * lower.mean()
    assert seen.free[: len(seen.free) // 2].mean() > 0.8
    cells = row(case, seen)
    assert {cell.photo.shape for cell in cells} == {(SIDE_PX, SIDE_PX, 3)}
    assert line(case, seen).startswith("| half noise | ")
