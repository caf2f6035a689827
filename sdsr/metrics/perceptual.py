"""Learned measures (LPIPS, DISTS, MANIQA, MUSIQ, CLIPIQA) through pyiqa, an optional library under its own licences.

pyiqa (non-commercial) downloads its weights without checking them and unpickles them freely. Here its weights are
loaded with torch's restricted unpickler whatever it asks for; a file that needs more is an error.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch

from sdsr.errors import InputError, ModelError
from sdsr.extras import version_of
from sdsr.images.floats import levels_as_image
from sdsr.metrics.planes import Values
from sdsr.metrics.protocol import Measure, Protocol

_RESTRICTED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def _measure(name: str, needs_truth: bool) -> Measure:
    return Measure(
        name=name,
        function=partial(_score, name),
        plane="rgb",
        needs_truth=needs_truth,
        better="lower" if needs_truth else "higher",
    )


def with_perceptual(protocol: Protocol, names: Sequence[str]) -> Protocol:
    """The protocol with measures of `PERCEPTUAL` added and named; ModelError if pyiqa or a weight is out of reach."""
    if not names:
        return protocol
    for name in names:
        if name not in PERCEPTUAL:
            raise InputError(f"perceptual measure (={name}) is unknown; use one of {', '.join(PERCEPTUAL)}.")
        _metric(name)
    version = version_of("pyiqa") or "of unknown version"
    return replace(
        protocol,
        name=f"{protocol.name}+{'+'.join(names)}",
        description=f"{protocol.description}; {', '.join(names)} of pyiqa {version} on RGB",
        measures=(*protocol.measures, *(PERCEPTUAL[name] for name in names)),
    )


def _score(name: str, *photos: Values) -> float:
    with torch.inference_mode():
        return float(np.asarray(_metric(name)(*map(levels_as_image, photos))).item())


@cache
def _metric(name: str):
    try:
        import pyiqa  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ModelError(
            f"{name} needs pyiqa (={error}), which is optional and non-commercial; run `pip install pyiqa`."
        ) from error
    try:
        with _restricted_unpickling():
            return pyiqa.create_metric(name, device="cpu")
    except Exception as error:  # pyiqa raises whatever its download, its pickle or its network raises
        raise ModelError(
            f"{name} of pyiqa can't be loaded (={error}); fetch its weights once while online, or leave it out."
        ) from error


@contextmanager
def _restricted_unpickling() -> Iterator[None]:
    before = os.environ.get(_RESTRICTED)
    os.environ[_RESTRICTED] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_RESTRICTED]
        else:
            os.environ[_RESTRICTED] = before


PERCEPTUAL = {
    name: _measure(name, needs_truth)
    for name, needs_truth in {
        "lpips": True,
        "lpips-vgg": True,
        "dists": True,
        "maniqa": False,
        "maniqa-pipal": False,
        "musiq": False,
        "clipiqa": False,
    }.items()
}
