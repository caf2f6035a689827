"""InvSR's published predictor (huggingface.co/OAOA/InvSR, `noise_predictor_sd_turbo_v5.pth`) as our part."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sdsr.checkpoints.converted import Converted, shapes_of
from sdsr.methods.invsr.method import PART
from sdsr.methods.invsr.predictor import NoisePredictor

PREFIX = "encoder."


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Return the predictor of a checkpoint, of any width; its names are ours, but for `PREFIX`.

    The `_diftune` file has the same names.
    """
    with torch.device("meta"):
        predictor = NoisePredictor()
    names = {PREFIX + name: name for name in predictor.state_dict()}
    return Converted(
        parts={PART: {ours: state[theirs] for theirs, ours in names.items() if theirs in state}},
        unknown=tuple(name for name in state if name not in names),
        missing=tuple(name for name in names if name not in state),
        shapes={PART: shapes_of(predictor)},
    )
