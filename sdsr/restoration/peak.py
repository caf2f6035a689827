"""How much memory a restoration has in use at once, weights aside: predicted from sizes alone; knows no torch.

It is what a runtime takes when it first computes, the photo, and the most of what comes one after another: latents and
a window; the result's pixels and a part of the picture that is encoded or decoded; the result and its file. Of each,
what is alive at once is counted, tensor by tensor. `bench/memory.py` holds it against measurement: within 15 %, and
`MARGIN` is for that. C's own allocator keeps more, `KEPT_BYTES` at most: small pieces that were freed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from sdsr.prior.facts import Facts, Offload
from sdsr.restoration.canvas import Canvas, Size
from sdsr.restoration.tiles import TILE_PX

MARGIN = 1.15
"""By how much a restoration may need more than is predicted."""

KEPT_BYTES = 80 << 20
"""What glibc's allocator keeps of freed pieces at most, in processes of ours (`sdsr/allocator.py`)."""

INPUT_BYTES_PER_PX = 16  # the photo as it was read, and in float32
_SAMPLED_LATENTS = 4  # the photo's, a noisy one, noise, and the sum of windows
_DECODED_LATENTS = 1  # the clean one
_WRITTEN_PICTURES = 3  # the result, its file, which may be as large, and what that is read back as


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocations:
    """How a runtime takes memory: what it keeps from its first passes on, and what it needs of what torch's tensors do.

    The shares are of what a window's and a part's pixels need; workspaces are what kernels need beside, whatever the
    size. `keeps`: what these took is not given back while the result is written.
    """

    once_bytes: int
    window_share: float = 1.0
    part_share: float = 1.0
    window_workspace_bytes: int = 0
    part_workspace_bytes: int = 0
    keeps: bool = False


BY_TORCH = Allocations(once_bytes=16 << 20)
"""Once: code of the libraries that is run for the first time, and kernels that are compiled for the processor."""
LAYER_BYTES = 90 << 10
"""What a processor that computes in bfloat16 keeps for each layer once it was run, compiled kernels for the most part:
14 to 25 MiB for embedded methods of many steps (203 to 271 layers), 5 for the default (79)."""
BY_GRAPHS = Allocations(once_bytes=6 << 20, window_share=1.3, part_share=1.0, keeps=True)
"""ONNX Runtime's, which adds and activates in place: a decoder has two maps alive where torch has more than three (128
bytes a pixel), and 14 bytes of inputs; the arena that they come from is larger by two thirds, as measured of parts and
assumed of windows, which the default's never outgrow.
"""
BY_CARD = Allocations(once_bytes=256 << 20)
"""What libraries of an accelerator keep for themselves once they compute; assumed, for `bench/gpu/offload.py` to hold
against measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Bytes: `held` as long as the photo is restored, and what comes in turn.

    That is `latents` and a `window`; `decoding`, a part, the latents and pixels that are there then; and `writing`.
    """

    held: int
    latents: int
    window: int
    decoding: int
    writing: int

    @property
    def whole(self) -> int:
        """All that is in use at once."""
        return self.held + max(self.latents + self.window, self.decoding, self.writing)


def predict(
    method: Canvas,
    facts: Facts,
    photo: Size,
    size: Size,
    *,
    window_px: int,
    by: Allocations = BY_TORCH,
    pixel_bytes: int = 3,
) -> Peak:
    """Return what a photo (height, width) takes whose result has this `size`, in windows of `window_px`.

    `pixel_bytes` are those of a pixel as it is stored.
    """
    canvas = method.layout(photo, size, facts.multiple_px).region
    height, width = (min(side, window_px) for side in canvas.size)
    latent = canvas.height * canvas.width * 4 * facts.channels // facts.factor**2
    part = ceil(by.part_share * part_bytes(facts, canvas.size)) + by.part_workspace_bytes
    window = ceil(by.window_share * height * width * facts.bytes_per_px) + by.window_workspace_bytes
    return Peak(
        held=by.once_bytes + photo[0] * photo[1] * INPUT_BYTES_PER_PX,
        latents=_SAMPLED_LATENTS * latent,
        window=window,
        decoding=_DECODED_LATENTS * latent + size[0] * size[1] * pixel_bytes + part,
        writing=written_bytes(size, pixel_bytes) + (max(window, part) if by.keeps else 0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Bytes of weights as an accelerator would have them.

    `whole`: all. `staying`: what is there in any case. `parts`: by name, those of networks that compute together, and
    `layers`: the largest layer of each.
    """

    whole: int
    staying: int
    parts: Mapping[str, int]
    layers: Mapping[str, int]


def on_accelerator(weights: Weights, activations: Mapping[str, int]) -> dict[Offload, int]:
    """Return what an accelerator must have free for each way to have weights on it, `MARGIN` included.

    `activations`: bytes in use while a part computes, by its name; none are counted of parts that are not named.
    """
    active = {name: ceil(MARGIN * amount) for name, amount in activations.items()}

    def most(moving: Mapping[str, int]) -> int:
        return weights.staying + max(moving.get(name, 0) + active.get(name, 0) for name in {*moving, *active})

    needs: dict[Offload, int] = {
        "none": weights.whole + max(active.values()),
        "model": most(weights.parts),
        "sequential": most(weights.layers),
    }
    return {level: BY_CARD.once_bytes + need for level, need in needs.items()}


def picture_bytes(photo: Size, size: Size, pixel_bytes: int) -> int:
    """Return what is held of a photo and of its result until that is written."""
    return photo[0] * photo[1] * INPUT_BYTES_PER_PX + written_bytes(size, pixel_bytes)


def written_bytes(size: Size, pixel_bytes: int) -> int:
    """Return what is held of a result while it is written and read back."""
    return _WRITTEN_PICTURES * size[0] * size[1] * pixel_bytes


def part_bytes(facts: Facts, canvas: Size, tile_px: int = TILE_PX) -> int:
    """Return what encoding or decoding the largest part of a canvas takes, in tiles of such a side."""
    context_px = (facts.part_px - TILE_PX) // 2
    sides = []
    for side in canvas:
        surrounded = min(2, -(-side // tile_px) - 1)  # on how many sides
        sides.append(min(side, tile_px + surrounded * context_px))
    height, width = sides
    return height * width * facts.part_bytes_per_px
