"""Distances of ImageNet features: the form of DISTS on EfficientNet-Lite2, which nothing trained or chosen sees.

Losses and discriminators have networks of their own (Lite0 and Lite1), so a result can't have been fitted to this one.
Weights are chosen by the one that losses see, so that the choice can't be fitted to it either.
"""

from dataclasses import replace
from functools import cache, partial
from typing import Literal

import torch

from sdsr.images.floats import levels_as_image
from sdsr.losses.dists import Dists
from sdsr.losses.efficientnet import LiteName, load_efficientnet_lite
from sdsr.metrics.planes import Values
from sdsr.metrics.protocol import Measure, Protocol


def with_features(protocol: Protocol, *, choosing: bool = False) -> Protocol:
    """The protocol with `features` and `objects` in front; ModelError where the package of weights is missing.

    `choosing`: by Lite0, which losses see, and named after it.
    """
    name: LiteName = "lite0" if choosing else "lite2"
    _features(name)
    return replace(
        protocol,
        name=f"{protocol.name}+features",
        description=f"{protocol.description}; features is DISTS's form on five stages of EfficientNet-{name.title()}, "
        "RGB, objects its structure term on the coarsest stage",
        measures=(_measure("features", name), _measure("objects", name), *protocol.measures),
    )


def feature_distance(result: Values, truth: Values, *, name: LiteName = "lite2") -> float:
    """DISTS of the five feature maps of two photos, 0 ... 255, all maps and channels of equal weight: 0 if equal."""
    return _measured(_features(name), result, truth)


def object_distance(result: Values, truth: Values, *, name: LiteName = "lite2") -> float:
    """DISTS's structure term of the map at stride 16 alone: 1 less its channels' correlation with the truth's.

    It asks whether the same things are seen at the same places, and not of what contrast; the four finer maps see
    grain, combs and displacements of a pixel, and by them bicubic is behind texture in the wrong shape.
    """
    return _measured(_objects(name), result, truth)


def _measured(distance: Dists, *photos: Values) -> float:
    with torch.inference_mode():
        return float(distance(*map(levels_as_image, photos)))


@cache
def _features(name: LiteName) -> Dists:
    return Dists(load_efficientnet_lite(name))


@cache
def _objects(name: LiteName) -> Dists:
    network = load_efficientnet_lite(name)
    nothing = [torch.zeros(width) for width in network.channels]
    return Dists(network, nothing, [*nothing[:-1], torch.ones(network.channels[-1])])


def _measure(kind: Literal["features", "objects"], name: LiteName) -> Measure:
    function = feature_distance if kind == "features" else object_distance
    return Measure(
        name=kind if name == "lite2" else f"{kind}_{name}",
        function=partial(function, name=name),
        plane="rgb",
        needs_truth=True,
        better="lower",
    )
