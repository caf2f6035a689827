"""How much memory a restoration has in use at once, weights aside: predicted from sizes alone; knows no torch.

It is what a runtime takes when it first computes, what grows with the picture, and the most of what comes one after
another: a window, or a part of the picture that is encoded or decoded. `bench/memory.py` holds it against measurement:
within 15 %, and `MARGIN` is for that. C's own allocator may keep more: what was freed in pieces of less than 32 MiB.
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
"""What glibc's allocator keeps of freed pieces, at most; nothing with MALLOC_MMAP_THRESHOLD_=4194304."""

OUTPUT_BYTES_PER_PX = 12  # latents, pixels, alpha, and the file while it is written and read back
INPUT_BYTES_PER_PX = 16  # the photo as it was read, and in float32
_COLORS_BYTES_PER_PX = 12  # of a part: the enlarged photo beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocations:
    """How a runtime takes memory: what it keeps from its first passes on, and the share of what tensors need."""

    once_bytes: int
    share: float = 1.0


BY_TORCH = Allocations(once_bytes=10 << 20)
BY_GRAPHS = Allocations(once_bytes=20 << 20, share=0.5)
"""ONNX Runtime's."""
BY_CARD = Allocations(once_bytes=256 << 20)
"""What libraries of an accelerator keep for themselves once they compute; assumed, for `bench/gpu/offload.py` to hold
against measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Bytes: `held` as long as the photo is restored, then `window` for a pass and `part` for pixels, in turn."""

    held: int
    window: int
    part: int

    @property
    def whole(self) -> int:
        """All that is in use at once."""
        return self.held + max(self.window, self.part)


def predict(
    method: Canvas, facts: Facts, photo: Size, size: Size, *, window_px: int, by: Allocations = BY_TORCH, depth: int = 1
) -> Peak:
    """Return what a photo (height, width) takes whose result has this `size`, in windows of `window_px`.

    `depth` is the bytes of a sample.
    """
    canvas = method.layout(photo, size, facts.multiple_px).region
    height, width = (min(side, window_px) for side in canvas.size)
    return Peak(
        held=by.once_bytes + picture_bytes(photo, size, depth=depth),
        window=ceil(by.share * height * width * facts.bytes_per_px),
        part=ceil(by.share * part_bytes(facts, canvas.size)),
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


def picture_bytes(photo: Size, size: Size, *, depth: int = 1) -> int:
    """Return what is held of a photo and of its result."""
    return size[0] * size[1] * OUTPUT_BYTES_PER_PX * depth + photo[0] * photo[1] * INPUT_BYTES_PER_PX


def part_bytes(facts: Facts, canvas: Size, tile_px: int = TILE_PX) -> int:
    """Return what encoding or decoding the largest part of a canvas takes, in tiles of such a side."""
    context_px = (facts.part_px - TILE_PX) // 2
    sides = []
    for side in canvas:
        surrounded = min(2, -(-side // tile_px) - 1)  # on how many sides
        sides.append(min(side, tile_px + surrounded * context_px))
    height, width = sides
    return height * width * (facts.part_bytes_per_px + _COLORS_BYTES_PER_PX)
