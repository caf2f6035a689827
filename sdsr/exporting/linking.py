"""A graph's weights, taken out of it again where a safetensors file has them: each tensor is stored once.

What is stored as halves is cast in the graph, what is stored transposed is turned there; a runtime does both once, when
it opens the graph.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

LEAST_BYTES = 256
"""Smaller tensors stay in the graph: a place in a file takes as much room."""

_DTYPES = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """A tensor of a safetensors file: where it is, and its values."""

    file: str
    offset: int
    values: np.ndarray


def stored_tensors(path: Path) -> list[Stored]:
    """Return the float tensors of a safetensors file, whose header says where each begins."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    found = []
    for name, told in header.items():
        if name == "__metadata__" or told["dtype"] not in _DTYPES:
            continue
        begin, end = (8 + length + place for place in told["data_offsets"])
        values = np.frombuffer(data[begin:end], _DTYPES[told["dtype"]]).reshape(told["shape"])
        found.append(Stored(file=path.name, offset=begin, values=values))
    return found


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
        kept.append(external)
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
        places.setdefault(_key(each.values), (each, False))
        if each.values.ndim == 2:
            places.setdefault(_key(each.values.T), (each, True))
    return places


def _find(values: np.ndarray, places: Mapping[tuple[object, ...], tuple[Stored, bool]]) -> tuple[Stored, bool] | None:
    if values.dtype != np.float32 or values.nbytes < LEAST_BYTES:
        return None
    return places.get(_key(values))


def _key(values: np.ndarray) -> tuple[object, ...]:
    return values.shape, np.ascontiguousarray(values, np.float32).tobytes()


def _linked(name: str, place: Stored, turned: bool) -> "tuple[TensorProto, list[NodeProto]]":
    """Return the tensor in its file, and the nodes that make of it what the graph had under this name."""
    from onnx import TensorProto, helper

    half = place.values.dtype == np.float16
    steps: list[tuple[str, dict[str, Any]]] = [("Cast", {"to": TensorProto.FLOAT})] if half else []
    steps += [("Transpose", {"perm": [1, 0]})] if turned else []
    names = [f"{name}.stored{count}" for count in range(len(steps), 0, -1)] + [name]
    tensor = TensorProto(
        name=names[0],
        data_type=TensorProto.FLOAT16 if half else TensorProto.FLOAT,
        dims=place.values.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", place.file), ("offset", place.offset), ("length", place.values.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    nodes = [
        helper.make_node(step, [before], [after], **settings)
        for (step, settings), before, after in zip(steps, names, names[1:], strict=False)
    ]
    return tensor, nodes
