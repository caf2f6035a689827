"""Which runtime restores fastest here, by a probe of a second, whose answer is kept for machine, versions and graphs.

A runtime is taken only where its result is the CPU's within 1 of 255, and what it takes to open counts against the work
that is ahead: one that needs a second to compile is none for one photo.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from sdsr import kept_probes
from sdsr.errors import ModelError
from sdsr.graphs.description import Description
from sdsr.graphs.runtimes import Runtime
from sdsr.graphs.sessions import Graph, threads

FORMAT = 2
PROBED_FROM = 8
"""Photos from which on a probe is worth its second; its answer counts for fewer, too."""

LIMIT = 1.0
"""Levels of 255."""

_SIDE_PX = 192
_PHOTO_PX = 576**2
"""Of the canvas of one window, by which a photo is counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """Seconds that a runtime took to open the graphs and to restore a photo, and its distance from the CPU's result.

    The distance is in levels of 255, infinity where the runtime can't run the graphs.
    """

    open_seconds: float
    photo_seconds: float
    difference: float

    def seconds(self, photos: int) -> float:
        return self.open_seconds + photos * self.photo_seconds


def fastest(probed: Mapping[Runtime, Probed], photos: int) -> Runtime:
    """Return the runtime that is done first with so many photos, of those that restore as the CPU does."""
    able: dict[Runtime, float] = {}
    for name, each in probed.items():
        if each.difference <= LIMIT:
            able[name] = each.seconds(photos)
    return min(able, key=lambda name: able[name]) if able else "onnx"


def probe(
    openers: Mapping[Runtime, Callable[[], Mapping[str, Graph]]], description: Description
) -> dict[Runtime, Probed]:
    """Return what each runtime takes; the first one's result is what the others' are held against."""
    found: dict[Runtime, Probed] = {}
    expected: np.ndarray | None = None
    for name, open_ in openers.items():
        began = time.perf_counter()
        try:
            graphs = open_()
            opened = time.perf_counter() - began
            result, seconds = _restored(graphs, description)
        except (ModelError, RuntimeError, MemoryError) as error:
            _log.info("%s can't run the graphs: %s", name, error)
            found[name] = Probed(open_seconds=0.0, photo_seconds=0.0, difference=float("inf"))
            continue
        expected = result if expected is None else expected
        difference = 255 * float(np.abs(result - expected).max())
        found[name] = Probed(open_seconds=opened, photo_seconds=seconds, difference=difference)
    return found


def _restored(graphs: Mapping[str, Graph], description: Description) -> tuple[np.ndarray, float]:
    """Return a picture of shades and noise, restored, and the seconds for one photo, by the faster of two runs."""
    shades = np.linspace(0.1, 0.9, _SIDE_PX, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 0.05, (1, 3, _SIDE_PX, _SIDE_PX)).astype(np.float32)
    image = (shades[:, None] / 2 + shades / 2 + noise).clip(0, 1)
    taken = []
    result = image
    for _ in range(2):
        began = time.perf_counter()
        clean = graphs["denoise"](noisy=graphs["encode"](image=image))
        decode = graphs[description.decoding(description.fidelity)]
        result = decode(latent=clean, enlarged=image, fidelity=np.array(description.fidelity))
        taken.append(time.perf_counter() - began)
    return result, min(taken) * _PHOTO_PX / _SIDE_PX**2


def machine(description: Description, runtimes: tuple[Runtime, ...]) -> kept_probes.Key:
    """Return all that an answer depends on."""
    packages = ("onnxruntime", "onnxruntime-directml", "openvino", "sdsr")
    return {
        "format": FORMAT,
        **kept_probes.this_machine(packages, threads()),
        "runtimes": list(runtimes),
        "graphs": dict(description.graphs),
    }


def recall(key: kept_probes.Key) -> dict[Runtime, Probed] | None:
    """Return the answer that is kept for this key; None where there is none, or a damaged or foreign one."""
    kept = kept_probes.recall(key)
    if not isinstance(kept, Mapping) or list(kept) != key["runtimes"]:
        return None
    try:
        return {name: _probed(values) for name, values in kept.items()}
    except (TypeError, AttributeError):
        return None


def _probed(values: Mapping[str, float]) -> Probed:
    if not all(isinstance(value, float) for value in values.values()):
        raise TypeError(f"{values} are not seconds and a difference")
    return Probed(**values)


def keep(key: kept_probes.Key, probed: Mapping[Runtime, Probed]) -> None:
    """Keep an answer, whole or not at all; where that can't be, the next folder of photos is probed for again."""
    kept_probes.keep(key, {name: asdict(each) for name, each in probed.items()})
