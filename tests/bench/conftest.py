"""A fresh accelerate for each test, as for those of training."""

import pytest


@pytest.fixture(autouse=True)
def fresh(fresh_accelerate: None) -> None:
    """Each test is a process of its own to accelerate."""
