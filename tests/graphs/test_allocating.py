"""What a graph takes once, it computes with again: a process's own memory shows it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdsr.engines import SMALL_PRIOR
from sdsr.graphs.description import read_graphs
from sdsr.graphs.sessions import open_graphs
from sdsr.models import find_model

REPEATED = """
import sys
import numpy as np
from bench.memory import forget_peak, resident
from sdsr.engines import SMALL_PRIOR
from sdsr.graphs.description import DETAILED, read_graphs
from sdsr.graphs.sessions import open_graphs
from sdsr.models import find_model

folder = find_model("d3sr-small").folder
for graph in [open_graphs(folder, read_graphs(folder), (SMALL_PRIOR,))[DETAILED] for _ in range(2)]:
    given = {"latent": np.zeros((1, 32, 72, 69), np.float32), "enlarged": np.zeros((1, 3, 576, 552), np.float32)}
    for array in given.values():
        array += 0.5
    before = resident("VmRSS")
    forget_peak()
    graph(**given)
    print((resident("VmHWM") - before) / (576 * 552))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a peak that can be forgotten")
def test_another_session_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two maps of 64 channels at H/2, 128 bytes a pixel, and what an arena of doubling pieces has more.

    Another session then takes these. What is new is its result, 12 bytes a pixel, and what C's allocator rounds up to.
    """
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    told = subprocess.run([sys.executable, "-c", REPEATED], check=True, capture_output=True, text=True).stdout
    first, again = map(float, told.split())
    assert 128 < first < 256
    assert again < 32


def test_what_a_graph_gives_is_none_of_the_arenas() -> None:
    """Held there, it would keep the arena from being used again."""
    folder = find_model("d3sr-small").folder
    assert folder is not None
    denoise = open_graphs(folder, read_graphs(folder), (SMALL_PRIOR,))["denoise"]
    assert denoise(noisy=np.zeros((1, 32, 8, 8), np.float32)).flags.owndata
