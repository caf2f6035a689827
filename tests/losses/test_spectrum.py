"""The term against lattices: it sees them, in proportion, and sees nothing in photos and flat pictures."""

from functools import partial

import torch

from sdsr.losses.spectrum import line_heights, spectral_peaks
from sdsr.losses.terms import StepRecord


def record(image: torch.Tensor, hq: torch.Tensor) -> StepRecord:
    latent = torch.zeros(1, 1, 1, 1)
    return StepRecord(clean=latent, hq=latent, image=lambda: image, hq_image=hq)


def lattice(period_px: int, height: float, side: int = 96) -> torch.Tensor:
    """A bright column in each period."""
    columns = (torch.arange(side) % period_px == 0).float() * height
    return columns.expand(1, 3, side, side)


def test_a_lattice_is_seen_and_the_photo_itself_is_not(photo):
    hq = photo[..., :96, :96]
    term = partial(spectral_peaks, 8)
    assert float(term(record(hq, hq))) == 0
    faint, strong = (float(term(record(hq + lattice(8, height), hq))) for height in (0.02, 0.2))
    assert 0.02 < faint < strong


def test_every_period_that_divides_eight_has_its_line():
    flat = torch.full((1, 3, 96, 96), 0.5)
    for period, lines in ((8, 4), (4, 2), (2, 1)):
        heights = line_heights(flat + lattice(period, 0.1), -1)
        assert int((heights > 1).sum()) == lines
        assert not (line_heights(flat + lattice(period, 0.1), -2) > 1e-3).any()


def test_a_lattice_of_another_period_and_a_flat_picture_have_none():
    flat = torch.full((1, 3, 96, 96), 0.5)
    assert line_heights(flat, -1).abs().max() < 1e-6
    assert line_heights(flat + lattice(12, 0.1), -1)[:, :1].max() < 1


def test_it_has_a_gradient_that_lowers_the_lattice(photo):
    hq = photo[..., :96, :96]
    image = (hq + lattice(8, 0.1)).requires_grad_()
    term = partial(spectral_peaks, 8)
    before = term(record(image, hq))
    before.backward()
    assert image.grad is not None
    after = term(record(image.detach() - 20 * image.grad, hq))
    assert float(after) < float(before.detach())
