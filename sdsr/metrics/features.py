"""Distances of ImageNet features: the form of DISTS on EfficientNet-Lite2, which nothing trained or chosen sees.

Losses and discriminators have networks of their own (Lite0 and Lite1), so a result can't have been fitted to this one.
"""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from sdsr.losses.dists import Dists
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.metrics.planes import Values
from sdsr.metrics.protocol import Measure, Protocol


def with_features(protocol: Protocol) -> Protocol:
    """The protocol with `features` and `objects` in front; ModelError where the package of weights is missing."""
    _features()
    return replace(
        protocol,
        name=f"{protocol.name}+features",
        description=f"{protocol.description}; features is DISTS's form on five stages of EfficientNet-Lite2, RGB, "
        "objects its structure term on the coarsest stage",
        measures=(FEATURES, OBJECTS, *protocol.measures),
    )


def feature_distance(result: Values, truth: Values) -> float:
    """DISTS of the five feature maps of two photos, 0 ... 255, all maps and channels of equal weight: 0 if equal."""
    return _measured(_features(), result, truth)


def object_distance(result: Values, truth: Values) -> float:
    """DISTS's structure term of the map at stride 16 alone: 1 less its channels' correlation with the truth's.

    It asks whether the same things are seen at the same places, and not of what contrast; the four finer maps see
    grain, combs and displacements of a pixel, and by them bicubic is behind texture in the wrong shape.
    """
    return _measured(_objects(), result, truth)


def _measured(distance: Dists, *photos: Values) -> float:
    with torch.inference_mode():
        return float(distance(*map(_tensor, photos)))


@cache
def _features() -> Dists:
    return Dists(load_efficientnet_lite("lite2"))


@cache
def _objects() -> Dists:
    network = load_efficientnet_lite("lite2")
    nothing = [torch.zeros(width) for width in network.channels]
    return Dists(network, nothing, [*nothing[:-1], torch.ones(network.channels[-1])])


def _tensor(photo: Values) -> Tensor:
    return torch.from_numpy(photo / 255).float().permute(2, 0, 1)[None]


FEATURES = Measure(name="features", function=feature_distance, plane="rgb", needs_truth=True, better="lower")
OBJECTS = replace(FEATURES, name="objects", function=object_distance)
