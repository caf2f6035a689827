"""What a folder of exported graphs says of itself: how a one-step model restores by them, without torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_args

from sdsr.errors import ModelError
from sdsr.images.kernels import KERNELS, Kernel
from sdsr.prior.facts import Facts
from sdsr.request import ColorFix
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.plan import Plan

DESCRIPTION = "graphs.json"
FORMAT = 1
NAMES = ("encode", "denoise", "decode")
DETAILED = "decode_detailed"
"""What a guided decoder may have beside `decode`, for fidelity 0: that end alone."""

_KERNEL_FIELDS = ("kernel", "kernel_twice", "shrink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A one-step model as three ONNX graphs or four, and all else that decides a restoration by it.

    `weights_sha256` stands for all weights of what was exported, as `ModelFolder.weights_sha256` does; `graphs` and
    `weights` are the sha256 of the graphs' files and of the weight files that they point into. The latent is encoded in
    parts of `encode_cells` with `encode_margin` cells of context on each side, and decoded with `decode_margin`.
    `guided`: the decoder looks at the enlarged photo, too, and `fidelity` means something to it.
    """

    model: str
    weights_sha256: str
    graphs: Mapping[str, str]
    weights: Mapping[str, str]
    facts: Facts
    canvas: Canvas
    time: int
    fidelity: float
    guided: bool
    color_fix: ColorFix
    adain_floor: float
    encode_cells: int
    encode_margin: int
    decode_margin: int

    @property
    def plan(self) -> Plan:
        """The model's own plan: one step."""
        return Plan(times=(self.time,), fidelity=self.fidelity)

    def decoding(self, fidelity: float) -> str:
        """Return the name of the graph that decodes with such a fidelity."""
        return "decode" if fidelity or DETAILED not in self.graphs else DETAILED

    def to_json(self) -> str:
        """Return it as text; kernels by their names."""
        canvas = {each.name: _named(getattr(self.canvas, each.name)) for each in fields(Canvas)}
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({"format": FORMAT, **plain, "facts": asdict(self.facts), "canvas": canvas}, indent=2) + "\n"


def has_graphs(folder: Path) -> bool:
    """Whether a model's folder has graphs, so that it restores without torch."""
    return (folder / DESCRIPTION).is_file()


def read_graphs(folder: Path) -> Description:
    """Return what a folder of graphs says; raise ModelError where it has none, or one that this version can't read."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(
            f"model (={folder.name}) has no graphs ({DESCRIPTION}); make them with `sdsr export --onnx`, or restore "
            "with --engine torch."
        )
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        form = told.pop("format")
    except (ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} can't be read ({error}); export the graphs again, or reinstall sdsr.") from error
    if form != FORMAT:
        raise ModelError(f"format (={form}) of {path} must be {FORMAT}; update sdsr, or export the graphs again.")
    if told.get("color_fix") not in get_args(ColorFix) or {*told.get("graphs", ())} - {DETAILED} != {*NAMES}:
        raise ModelError(f"{path} names graphs or colors that are unknown; export the graphs again, or update sdsr.")
    try:
        canvas = told["canvas"]
        kernels = {name: KERNELS[canvas[name]] for name in _KERNEL_FIELDS if canvas.get(name) is not None}
        return Description(**told | {"canvas": Canvas(**canvas | kernels), "facts": Facts(**told["facts"])})
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path} is incomplete ({error}); export the graphs again, or update sdsr.") from error


def _named(value: object) -> object:
    """Return a kernel's name, and all else as it is."""
    return value.name if isinstance(value, Kernel) else value
