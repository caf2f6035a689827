"""ConsisSR's published checkpoint as its names and shapes, and as a checkpoint of tiny tensors."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

KEYS = Path(__file__).parent / "golden" / "keys" / "keys_consissr.txt"
LARGEST_SIDE = 6


@pytest.fixture(scope="session")
def consissr_shapes() -> dict[str, torch.Size]:
    lines = (line.split(" ", 1) for line in KEYS.read_text().splitlines())
    return {name: torch.Size(json.loads(shape)) for name, shape in lines}


@pytest.fixture(scope="session")
def consissr_sealed(consissr_shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """All tensors under their published names, no side longer than 6; what was frozen in training is still a copy."""
    rng = torch.Generator().manual_seed(0)
    state = {
        name: torch.rand([min(side, LARGEST_SIDE) for side in shape], generator=rng) + 0.5
        for name, shape in consissr_shapes.items()
    }
    for name in state:
        if name.startswith("cond_encoder."):
            state[name] = state[name.replace("cond_encoder.", "first_stage_model.")].clone()
        elif name.startswith("control_model.") and (".norm2." in name or (".attn2." in name and "_ip." not in name)):
            state[name] = state[name.replace("control_model.", "model.diffusion_model.")].clone()
    return state


@pytest.fixture
def consissr_tiny(consissr_sealed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tiny checkpoint, to change at will."""
    return {name: tensor.clone() for name, tensor in consissr_sealed.items()}
