"""ONNX Runtime and OpenVINO, kept from telling their makers what is done with them, as both do if nobody hinders them.

They are imported here and nowhere else. Whoever wants to tell says so: ORT_DISABLE_TELEMETRY=0.
"""

import os
import sys
from types import ModuleType

from sdsr.lean_imports import replaced

_SWITCH = "ORT_DISABLE_TELEMETRY"


def silence_onnx_runtime() -> None:
    """Keep ONNX Runtime, whoever imports it from now on, from sending events and from keeping a device's identity."""
    os.environ.setdefault(_SWITCH, "1")


def import_onnx_runtime() -> ModuleType:
    """Return the module `onnxruntime`; where others imported it before, what it sends from now on is the least."""
    silence_onnx_runtime()
    import onnxruntime

    if os.environ[_SWITCH] == "1":
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def import_openvino() -> ModuleType:
    """Return the module `openvino`; its converter, which it imports, finds the package missing by which it sends."""
    absent = {} if "openvino_telemetry" in sys.modules else {"openvino_telemetry": None}
    with replaced(absent):
        import openvino  # pyright: ignore[reportMissingImports]  (an extra)

    return openvino
