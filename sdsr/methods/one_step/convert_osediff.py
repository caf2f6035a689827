"""OSEDiff's published checkpoint (github.com/cswry/OSEDiff, `osediff.pkl`) as parts of a one-step generator.

A dictionary of lists of layers, two ranks, and two state dicts: the UNet's updates under three adapters' names
(`default_encoder`, `default_decoder`, `default_others`), which share no layer and so are one, beside its first
convolution, which learned whole; and the encoder's updates. Alpha is in no file: it is peft's default, 8.
"""

from collections.abc import Mapping

from torch import Tensor

from sdsr.checkpoints.converted import Converted, Shapes
from sdsr.methods.one_step.convert import encoder_shapes, low_rank, unet_shapes
from sdsr.methods.one_step.generator import ENCODER_LORA, FIRST_LAYER, LORA, OSEDIFF
from sdsr.prior.weight_files import below

UNET = "state_dict_unet."
AUTOENCODER = "state_dict_vae."
_FIRST = {f"conv_in.{layer}{name}": name for layer in ("base_layer.", "") for name in ("weight", "bias")}


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Return the three parts of the generator; every tensor is used or named."""
    shapes: dict[str, Shapes] = {
        LORA: unet_shapes(OSEDIFF),
        ENCODER_LORA: encoder_shapes(OSEDIFF.encoder_rank),
        FIRST_LAYER: {"weight": (320, 4, 3, 3), "bias": (320,)},
    }
    scale = OSEDIFF.alpha / OSEDIFF.rank
    unet, beside = low_rank(below(state, UNET), shapes[LORA], scale=scale)
    encoder, other = low_rank(below(state, AUTOENCODER), shapes[ENCODER_LORA], scale=scale)
    first = {_FIRST[name]: tensor for name, tensor in beside.items() if name in _FIRST}
    wanted = {part: tuple(names) for part, names in shapes.items()}
    held = {LORA: unet, ENCODER_LORA: encoder, FIRST_LAYER: first}
    strange = [
        *(UNET + name for name in beside if name not in _FIRST),
        *(AUTOENCODER + name for name in other),
        *(f"{part}.{name}" for part, tensors in held.items() for name in tensors if name not in wanted[part]),
        *(name for name in state if not name.startswith((UNET, AUTOENCODER))),
    ]
    return Converted(
        parts={
            part: {name: held[part][name] for name in names if name in held[part]} for part, names in wanted.items()
        },
        unknown=tuple(strange),
        missing=tuple(f"{part}.{name}" for part, names in wanted.items() for name in names if name not in held[part]),
        shapes=shapes,
    )
