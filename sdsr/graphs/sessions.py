"""ONNX Runtime's sessions of a folder's graphs, whose weights lie beside them as they were trained.

A graph holds no weights: its tensors point into safetensors files, so that each is stored once, and are widened there
where they are halves. The files are read once, checked, and handed to the sessions.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from sdsr.errors import ModelError
from sdsr.graphs.allocating import share_arena
from sdsr.graphs.description import Description
from sdsr.quiet_runtimes import import_onnx_runtime

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph that is ready to run, and which of its inputs it has."""

    run: Callable[[dict[str, np.ndarray]], np.ndarray]
    inputs: tuple[str, ...]

    def __call__(self, **arrays: ArrayLike) -> np.ndarray:
        """Return its output of arrays (float32), those that it has no input for left out; MemoryError where it is."""
        given = {name: np.asarray(arrays[name], np.float32, order="C") for name in self.inputs}
        try:
            return self.run(given)
        except Exception as error:  # runtimes' own derive from nothing narrower
            if ran_out(error):
                raise MemoryError(str(error)) from error
            raise


def open_graphs(
    folder: Path, description: Description, others: Sequence[Path] = (), provider: str = CPU
) -> dict[str, Graph]:
    """Return a model's graphs, ready to run by one of ONNX Runtime's providers; what it can't, the CPU does.

    Weights are looked for in the folder, then in `others`. Raises ModelError for files that are missing or that aren't
    the described ones.
    """
    places = (folder, *others)
    share_arena()
    weights = {name: _read(places, name, digest) for name, digest in description.weights.items()}
    return {
        name: _opened(_read((folder,), f"{name}.onnx", digest), weights, folder, provider)
        for name, digest in description.graphs.items()
    }


def lay_out(folder: Path, description: Description, others: Sequence[Path], to: Path) -> None:
    """Write a model's graphs and the weights that they point into beside each other, as other runtimes look for them.

    Raises ModelError as `open_graphs` does.
    """
    for name, digest in description.graphs.items():
        (to / f"{name}.onnx").write_bytes(_read((folder,), f"{name}.onnx", digest))
    for name, digest in description.weights.items():
        (to / name).write_bytes(_read((folder, *others), name, digest))


def threads() -> int:
    """Return how many threads compute: what OMP_NUM_THREADS says, as for torch; 0 leaves it to ONNX Runtime."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() else 0


def _opened(graph: bytes, weights: Mapping[str, bytes], folder: Path, provider: str) -> Graph:
    onnxruntime = import_onnx_runtime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other programs want the cores, too
    options.enable_mem_pattern = False  # one block with holes for a size seen before: 172 bytes a pixel, not 128
    options.add_session_config_entry("session.use_env_allocators", "1")  # the arena of `share_arena`
    options.add_external_initializers_from_files_in_memory(
        list(weights), list(weights.values()), [len(data) for data in weights.values()]
    )
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=list(dict.fromkeys((provider, CPU))))
    except Exception as error:
        if ran_out(error):
            raise MemoryError(str(error)) from error
        reason = str(error).splitlines()[0]
        raise ModelError(f"graphs (={folder}) can't be opened ({reason}); export them again.") from error
    return Graph(
        run=lambda given: np.array(session.run(None, given)[0]),  # copied: the arena's own is wanted again
        inputs=tuple(each.name for each in session.get_inputs()),
    )


def _read(places: Sequence[Path], name: str, digest: str) -> bytes:
    """Return a file's bytes, from the first place that has it as it is described."""
    there = [path for path in (place / name for place in places) if path.is_file()]
    for path in there:
        data = path.read_bytes()
        if sha256(data).hexdigest() == digest:
            return data
    if there:
        raise ModelError(f"file (={there[0]}) isn't what was exported (sha256 differs); export the graphs again.")
    raise ModelError(f"file (={name}) isn't in {places[0]}; export the graphs again, or reinstall sdsr.")


def ran_out(error: Exception) -> bool:
    """Whether memory was not enough."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "bad allocation" in said or "failed to allocate" in said
