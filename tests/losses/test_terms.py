"""Terms against closed forms; decoding happens once, and only for terms that look at pixels."""

import functools
from functools import partial

import pytest
import torch

from sdsr.losses.terms import (
    StepRecord,
    Term,
    artifact_l1,
    blotches,
    drift,
    excess_detail,
    gradient_l1,
    image_l1,
    image_l2,
    latent_l2,
    latent_perceptual,
    lattice,
    local_energy_l1,
    perceptual,
    unevenness,
    weighted_sum,
)


def image_record(image: torch.Tensor, hq_image: torch.Tensor) -> StepRecord:
    latent = torch.zeros(len(image), 4, 2, 2)
    return StepRecord(clean=latent, hq=latent, image=lambda: image, hq_image=hq_image)


def test_a_constant_offset_is_seen_by_values_and_not_by_detail():
    hq_image = torch.rand(2, 3, 12, 10)
    record = image_record(hq_image + 0.1, hq_image)
    torch.testing.assert_close(image_l1(record), torch.tensor(0.1))
    torch.testing.assert_close(image_l2(record), torch.tensor(0.01))
    torch.testing.assert_close(gradient_l1(record), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_gradient_l1_is_the_mean_over_both_directions():
    ramp = (0.3 * torch.arange(8.0)).expand(1, 3, 8, 8)
    torch.testing.assert_close(gradient_l1(image_record(ramp, torch.zeros_like(ramp))), torch.tensor(0.15))


def test_places_that_change_are_seen_apart_from_detail_and_false_color_apart_from_brightness():
    hq_image = torch.rand(2, 3, 64, 48)
    checks = 0.1 * (torch.arange(64)[:, None] + torch.arange(48)).remainder(2).mul(2).sub(1)
    tint = torch.tensor([0.1, 0.0, 0.0])[:, None, None]
    assert float(drift(16, image_record(hq_image + checks, hq_image))) < 1e-6
    torch.testing.assert_close(drift(16, image_record(hq_image - 0.02, hq_image)), torch.tensor(0.02))
    assert float(blotches(4, image_record(hq_image + 0.1, hq_image))) < 1e-6
    assert float(blotches(4, image_record(hq_image + tint * (checks > 0), hq_image))) > 0.008
    expected = abs(torch.tensor([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]) @ tint.flatten()).mean()
    torch.testing.assert_close(blotches(4, image_record(hq_image + tint, hq_image)), expected)


def photo_like(seed: int) -> torch.Tensor:
    noise = torch.rand(4, 3, 132, 132, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, stride=1)


def test_a_mesh_is_seen_by_both_terms_for_grids_and_free_texture_is_not():
    hq_image = photo_like(0)
    mesh = 0.02 * torch.cos(torch.arange(128.0) * torch.pi / 4)
    ramps = 0.02 * ((torch.arange(128) % 8) == 0)
    fresh = photo_like(1) - photo_like(2)
    texture = 0.02 * fresh / fresh.std() * mesh.std() / 0.02
    for term, grid in ((partial(lattice, 8, 4), mesh), (partial(unevenness, 8), ramps)):
        meshed = term(image_record(hq_image + grid, hq_image))
        textured = term(image_record(hq_image + texture, hq_image))
        assert float(meshed) > 3 * float(textured)
    assert float(lattice(8, 4, image_record(hq_image, hq_image))) == 0
    assert float(unevenness(8, image_record(hq_image, hq_image))) == 0


def test_unevenness_sees_a_faint_grid_in_a_flat_place_as_well():
    """A period is compared with its own mean, so that the sky counts as much as the grass."""
    busy = photo_like(3)
    busy[..., 64:] = 0.5 + 0.02 * (busy[..., 64:] - 0.5)
    grid = torch.zeros(128)
    grid[64:] = 0.002 * ((torch.arange(64) % 8) == 0)
    assert float(unevenness(8, image_record(busy + grid, busy))) > 0.02


def test_excess_detail_sees_ripples_where_the_target_is_smooth_and_not_where_it_ripples():
    columns = torch.arange(128.0)
    smooth = columns < 60
    ripples = (0.05 * torch.cos(1.5 * columns)).expand(1, 3, 128, 128)
    hq_image = 0.5 + ripples * ~smooth
    term = partial(excess_detail, 1.2)
    beside = float(term(image_record(hq_image + ripples * smooth, hq_image)))
    shifted = float(term(image_record(0.5 + ripples.roll(2, -1) * ~smooth, hq_image)))
    assert beside > 0.005
    assert shifted < beside / 10
    assert float(term(image_record(hq_image, hq_image))) == 0


def test_excess_detail_pays_for_missing_and_misplaced_texture_little():
    hq_image, other = photo_like(5), photo_like(6)
    term = partial(excess_detail, 1.2)
    flat = hq_image.mean((-2, -1), keepdim=True).expand_as(hq_image)
    assert float(term(image_record(flat, hq_image))) == 0
    assert float(term(image_record(other, hq_image))) < 0.3 * float(term(image_record(other, flat)))


def test_excess_detail_has_gradients_in_flat_pictures_and_under_autocast():
    image = torch.full((1, 3, 24, 24), 0.5, requires_grad=True)
    hq_image = torch.full((1, 3, 24, 24), 0.5)
    excess_detail(1.2, image_record(image, hq_image)).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    bright = 0.9 + 0.001 * torch.rand(1, 3, 24, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(excess_detail(1.2, image_record(bright, bright.mean() * torch.ones_like(bright)))) == 0


def test_local_energies_see_a_lines_strength_width_and_turn_and_hardly_its_place():
    columns = torch.arange(96.0)

    def lines(*, frequency: float = 0.25, strength: float = 0.2, shift: float = 0.0) -> torch.Tensor:
        wave = 0.5 + strength * torch.cos(2 * torch.pi * frequency * (columns + shift))
        return wave.expand(1, 3, 96, 96)

    wanted = lines()
    moved, blurred, wider, turned = (
        float(local_energy_l1(image_record(image, wanted)))
        for image in (lines(shift=2.0), lines(strength=0.1), lines(frequency=0.15), wanted.mT)
    )
    assert max(blurred, wider, turned) > 8 * moved
    assert float(local_energy_l1(image_record(wanted + 0.1, wanted))) < moved  # brightness is no detail
    assert float(local_energy_l1(image_record(wanted, wanted))) == 0


def test_local_energies_have_gradients_in_flat_pictures():
    image = torch.full((1, 3, 24, 24), 0.5, requires_grad=True)
    local_energy_l1(image_record(image, torch.rand(1, 3, 24, 24))).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_artifacts_weigh_by_the_variance_of_the_error_around_them():
    """By hand in the middle of a picture whose error is 0.3 at one pixel: 0.9 over channels, seen in 7x7 windows."""
    hq_image = torch.zeros(1, 3, 21, 21)
    image = torch.zeros(1, 3, 21, 21)
    image[..., 10, 10] = 0.3
    error = torch.zeros(441)
    error[220] = 0.9
    local = 0.81 / 49 - (0.9 / 49) ** 2
    wanted = 0.9 * local * error.var() ** 0.2 / 441 / 3
    torch.testing.assert_close(artifact_l1(image_record(image, hq_image)), wanted)
    even = torch.full_like(hq_image, 0.3)
    torch.testing.assert_close(artifact_l1(image_record(even, hq_image)), torch.tensor(0.0), atol=1e-7, rtol=0)


def test_weighted_sum_weighs_measures_and_decodes_once():
    clean, hq = torch.ones(1, 4, 2, 2, requires_grad=True), torch.zeros(1, 4, 2, 2)
    decoded = []

    @functools.cache
    def decode() -> torch.Tensor:
        decoded.append(1)
        return clean[:, :3] * 0.5

    record = StepRecord(clean=clean, hq=hq, image=decode, hq_image=torch.zeros(1, 3, 2, 2))
    latent_only, _ = weighted_sum([Term(name="latent", weight=3.0, function=latent_l2)], record)
    assert float(latent_only.detach()) == 3
    assert not decoded
    terms = [
        Term(name="latent", weight=3.0, function=latent_l2),
        Term(name="l1", weight=2.0, function=image_l1),
        Term(name="watched", weight=0.0, function=image_l2),
    ]
    total, values = weighted_sum(terms, record)
    assert float(total.detach()) == pytest.approx(3 * 1 + 2 * 0.5)
    assert {name: float(value) for name, value in values.items()} == {"latent": 1.0, "l1": 0.5, "watched": 0.25}
    assert len(decoded) == 1
    assert not any(value.requires_grad for value in values.values())
    total.backward()
    # d/dclean of 3 mean(clean^2) over 16 values, and of 2 mean(clean / 2) over the 12 that became pixels
    torch.testing.assert_close(clean.grad[0, :3], torch.full((3, 2, 2), 3 * 2 / 16 + 2 * 0.5 / 12))
    torch.testing.assert_close(clean.grad[0, 3], torch.full((2, 2), 3 * 2 / 16))


def test_perceptual_terms_average_a_distance_over_the_batch():
    def distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x - y).sum(dim=(1, 2, 3))

    record = StepRecord(clean=torch.ones(2, 1, 1, 1), hq=torch.zeros(2, 1, 1, 1))
    assert float(latent_perceptual(distance, record)) == 1
    image = torch.rand(2, 3, 4, 4)
    assert float(perceptual(distance, image_record(image, image - 1 / 48))) == pytest.approx(1, rel=1e-4)


def test_a_term_on_pixels_without_pixels_says_so():
    record = StepRecord(clean=torch.ones(1, 4, 2, 2), hq=torch.ones(1, 4, 2, 2))
    with pytest.raises(AssertionError, match="records no image"):
        image_l1(record)
