"""Banded maps: that NumPy's products are computed by one thread, whatever the user has it do elsewhere."""

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from sdsr.images.banded import apply_banded


def threads() -> set[int]:
    """How many threads the BLAS libraries would take now."""
    return {each["num_threads"] for each in ThreadpoolController().info() if each["user_api"] == "blas"}


@pytest.fixture
def many_threads(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with ThreadpoolController().limit(limits=3, user_api="blas"):
        if threads() != {3}:
            pytest.skip("NumPy's BLAS has one thread here")
        yield


@pytest.mark.usefixtures("many_threads")
def test_products_wake_no_other_thread():
    during = []

    def identity(first: int, last: int) -> tuple[int, np.ndarray]:
        during.append(threads())
        return first, np.eye(last - first)

    image = np.random.default_rng(0).random((1, 3, 100, 8), np.float32)
    np.testing.assert_array_equal(apply_banded(image, identity, slice(0, 100), dim=-2), image)
    assert during == [{1}, {1}]
    assert threads() == {3}
