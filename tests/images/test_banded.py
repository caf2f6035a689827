"""Banded maps: that NumPy's products are computed by one thread, whatever the user has it do elsewhere."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json
import numpy as np
from threadpoolctl import ThreadpoolController
from sdsr.images.banded import apply_banded

def threads():
    return [each["num_threads"] for each in ThreadpoolController().info() if each["user_api"] == "blas"]

during = []

def identity(first, last):
    during.append(threads())
    return first, np.eye(last - first)

image = np.random.default_rng(0).random((1, 3, 100, 8), np.float32)
with ThreadpoolController().limit(limits=3, user_api="blas"):
    before = threads()
    same = bool((apply_banded(image, identity, slice(0, 100), dim=-2) == image).all())
    print(json.dumps([same, before, during, threads()]))
"""


def test_products_wake_no_other_thread() -> None:
    """In a process of its own, as a library loaded later may bring another BLAS, which computes nothing here."""
    said = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    told = subprocess.run([sys.executable, "-c", PROGRAM], env=said, check=True, capture_output=True, text=True).stdout
    same, before, during, after = json.loads(told)
    if before != [3]:
        pytest.skip("NumPy's BLAS has one thread here")
    assert same
    assert during == [[1], [1]]
    assert after == [3]
