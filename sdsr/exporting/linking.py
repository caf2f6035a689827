"""A graph's weights, taken out of it again where a safetensors file has them: each tensor is stored once.

What is stored as halves is cast in the graph, integers are multiplied by their scale, what is stored transposed is
turned there; a runtime does all of it once, when it opens the graph.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sdsr.prior.eight_bits import scale_name

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

LEAST_BYTES = 256
"""Smaller tensors stay in the graph: a place in a file takes as much room."""

_DTYPES = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "I8": np.dtype("i1")}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """A tensor of a safetensors file: where it is, its values, and their scale where they are integers.

    A scale has as many dimensions as what it multiplies, here as in the graph.
    """

    file: str
    offset: int
    values: np.ndarray
    scale: "Stored | None" = None

    @property
    def weight(self) -> np.ndarray:
        """The values that are meant, in float32."""
        values = self.values.astype(np.float32)
        return values if self.scale is None else values * self.scale.values


def stored_tensors(path: Path) -> list[Stored]:
    """Return the weights of a safetensors file, whose header says where each tensor begins."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    found: dict[str, Stored] = {}
    for name, told in header.items():
        if name == "__metadata__" or told["dtype"] not in _DTYPES:
            continue
        begin, end = (8 + length + place for place in told["data_offsets"])
        values = np.frombuffer(data[begin:end], _DTYPES[told["dtype"]]).reshape(told["shape"])
        found[name] = Stored(file=path.name, offset=begin, values=values)
    for name in [name for name, each in found.items() if each.values.dtype == np.int8]:
        scale = found.pop(scale_name(name))
        column = scale.values.reshape(-1, *[1] * (found[name].values.ndim - 1))
        found[name] = replace(found[name], scale=replace(scale, values=column))
    return list(found.values())


def link(model: "ModelProto", stored: Sequence[Stored]) -> set[str]:
    """Let a graph's tensors point to those stored ones that have their values.

    Return the names of the files it now needs.
    """
    import onnx

    places = _by_values(stored)
    graph = model.graph
    kept = []
    nodes = []
    files = set()
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        found = _find(values, places)
        if found is None:
            kept.append(tensor)
            continue
        place, turned = found
        external, made = _linked(tensor.name, place, turned)
        kept += external
        nodes += made
        files.add(place.file)
    nodes += list(graph.node)
    del graph.initializer[:]
    del graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return files


def strip(model: "ModelProto") -> None:
    """Take out of a graph what only tells how it was exported: places in source files, shapes of what is in between."""
    graph = model.graph
    for each in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del each.metadata_props[:]
        each.doc_string = ""
    del graph.value_info[:]


def _by_values(stored: Sequence[Stored]) -> Mapping[tuple[object, ...], tuple[Stored, bool]]:
    """Return where values are found, and whether they are turned there; the first place counts."""
    places: dict[tuple[object, ...], tuple[Stored, bool]] = {}
    for each in stored:
        places.setdefault(_key(each.weight), (each, False))
        if each.values.ndim == 2:
            places.setdefault(_key(each.weight.T), (each, True))
    return places


def _find(values: np.ndarray, places: Mapping[tuple[object, ...], tuple[Stored, bool]]) -> tuple[Stored, bool] | None:
    if values.dtype != np.float32 or values.nbytes < LEAST_BYTES:
        return None
    return places.get(_key(values))


def _key(values: np.ndarray) -> tuple[object, ...]:
    return values.shape, np.ascontiguousarray(values, np.float32).tobytes()


def _linked(name: str, place: Stored, turned: bool) -> "tuple[list[TensorProto], list[NodeProto]]":
    """Return the tensors in their file, and the nodes that make of them what the graph had under this name."""
    from onnx import TensorProto, helper

    wide = place.values.dtype == np.float32
    steps = [] if wide else ["Cast"]
    steps += ["Mul"] if place.scale is not None else []
    steps += ["Transpose"] if turned else []
    names = [f"{name}.stored{count}" for count in range(len(steps), 0, -1)] + [name]
    tensors = [_external(names[0], place)]
    if place.scale is not None:
        tensors.append(_external(f"{name}.scale", place.scale))
    made = {
        "Cast": lambda before, after: helper.make_node("Cast", [before], [after], to=TensorProto.FLOAT),
        "Mul": lambda before, after: helper.make_node("Mul", [before, f"{name}.scale"], [after]),
        "Transpose": lambda before, after: helper.make_node("Transpose", [before], [after], perm=[1, 0]),
    }
    return tensors, [made[step](*ends) for step, ends in zip(steps, pairwise(names), strict=True)]


def _external(name: str, place: Stored) -> "TensorProto":
    """Return a tensor of a graph that is in a file."""
    from onnx import TensorProto, helper

    tensor = TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(place.values.dtype),
        dims=place.values.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", place.file), ("offset", place.offset), ("length", place.values.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
