"""What can run a model's graphs on this machine: ONNX Runtime on the CPU, others where they are."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from sdsr.errors import InputError, ModelError
from sdsr.graphs.description import Description
from sdsr.graphs.sessions import CPU, Graph, lay_out, open_graphs, ran_out, threads
from sdsr.processor import MULTIPLY_BFLOAT16, processor_class
from sdsr.quiet_runtimes import import_onnx_runtime, import_openvino

Runtime = Literal["onnx", "openvino", "coreml", "directml"]
PROVIDERS: Mapping[Runtime, str] = {
    "onnx": CPU,
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""Of ONNX Runtime."""

REMEDIES: Mapping[Runtime, str] = {
    "openvino": "pip install 'sdsr[fast]'",
    "coreml": "it is in ONNX Runtime for macOS",
    "directml": "it is in onnxruntime-directml, for Windows",
}


def runtimes_here() -> tuple[Runtime, ...]:
    """Return the runtimes that are installed; ONNX Runtime on the CPU comes first."""
    there = import_onnx_runtime().get_available_providers()
    return tuple(
        name
        for name in get_args(Runtime)
        if (find_spec("openvino") is not None if name == "openvino" else PROVIDERS[name] in there)
    )


def in_bfloat16(runtime: Runtime) -> bool:
    """Whether a runtime multiplies in bfloat16 here: OpenVINO does where the processor does.

    That takes half of the time. In the mean, results differ by 0.04 of 255 from those in float32, one value in a
    million by 2, no other by more than 1.
    """
    return runtime == "openvino" and processor_class() in MULTIPLY_BFLOAT16


def open_in(
    runtime: Runtime, folder: Path, description: Description, others: Sequence[Path], *, float32: bool = False
) -> dict[str, Graph]:
    """Return a model's graphs, ready to run, in `float32` also where the runtime would compute in bfloat16.

    Raises InputError for a runtime that isn't here, else as `open_graphs`.
    """
    if runtime not in runtimes_here():
        raise InputError(
            f"engine (={runtime}) isn't here: {REMEDIES[runtime]}; or leave it out, `sdsr doctor` lists what is."
        )
    if runtime == "openvino":
        precision = "bf16" if in_bfloat16(runtime) and not float32 else "f32"
        return _open_in_openvino(folder, description, others, precision)
    return open_graphs(folder, description, others, PROVIDERS[runtime])


def _open_in_openvino(
    folder: Path, description: Description, others: Sequence[Path], precision: str
) -> dict[str, Graph]:
    core = import_openvino().Core()
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads(), "ENABLE_MMAP": False}
    together = Path(tempfile.mkdtemp(prefix="sdsr-"))
    try:
        lay_out(folder, description, others, together)
        graphs = {}
        for name in description.graphs:
            model = core.compile_model(core.read_model(together / f"{name}.onnx"), "CPU", settings)
            inputs = tuple(each.get_any_name() for each in model.inputs)
            graphs[name] = Graph(run=partial(_first_output, model), inputs=inputs)
        return graphs
    except RuntimeError as error:
        if ran_out(error):
            raise MemoryError(str(error)) from error
        reason = str(error).splitlines()[0]
        raise ModelError(f"graphs (={folder}) can't be opened by OpenVINO ({reason}); try --engine onnx.") from error
    finally:
        shutil.rmtree(together, ignore_errors=True)


def _first_output(
    model: Callable[[dict[str, np.ndarray]], Mapping[int, np.ndarray]], given: dict[str, np.ndarray]
) -> np.ndarray:
    return np.array(model(given)[0])
