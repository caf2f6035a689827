"""Alias tables against Poisson's own chances, and draws against both."""

import numpy as np
import pytest
from scipy import stats

from sdsr.data.photons import alias_tables, photon_noise


@pytest.mark.parametrize("full", [1, 8, 256])
def test_tables_have_the_chances_of_poisson(full):
    table, least = alias_tables(full)
    table = table.reshape(256, 256)
    chance = (table >> 8) / 2**24 / 256
    alias = (table & 255).astype(int)
    found = chance.copy()
    np.add.at(found, (np.arange(256)[:, None], alias), 1 / 256 - chance)
    # a column of the whole chance is written as 2^-24 less, and has itself for an alias
    rate = np.arange(256)[:, None] * full / 255
    expected = stats.poisson.pmf(least[:, None] + np.arange(256), rate)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2**-30)
    np.testing.assert_allclose(expected.sum(1), 1, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("level", "full"), [(3, 256), (77, 32), (255, 256)])
def test_counts_are_drawn_by_these_chances(level, full):
    levels = np.full((3, 137, 301), level, np.uint8)
    noise = photon_noise(levels, full, np.random.default_rng(1))
    counts = (noise.astype(np.float64) + level / 255) * full
    np.testing.assert_allclose(counts, counts.round(), rtol=0, atol=1e-3)
    rate = level * full / 255
    edges = stats.poisson.ppf([0.1, 0.3, 0.5, 0.7, 0.9], rate)
    shares = [(counts.round() <= edge).mean() for edge in edges]
    np.testing.assert_allclose(shares, stats.poisson.cdf(edges, rate), rtol=0, atol=0.006)
    assert counts.var() == pytest.approx(rate, rel=0.03)


def test_each_level_has_its_own_rate_and_pixels_are_independent():
    levels = np.arange(256, dtype=np.uint8).repeat(400).reshape(256, 400)
    noise = photon_noise(levels, 256, np.random.default_rng(2))
    np.testing.assert_allclose(noise.mean(1), 0, atol=5 * np.sqrt(1 / 256 / 400))
    np.testing.assert_allclose(noise[1:].var(1) * 256 / (np.arange(1, 256) / 255), 1, atol=0.4)
    lit = noise[128:]
    assert abs(np.corrcoef(lit[:, :-1].ravel(), lit[:, 1:].ravel())[0, 1]) < 0.02
    assert np.array_equal(noise, photon_noise(levels, 256, np.random.default_rng(2)))
