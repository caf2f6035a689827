"""Runtimes that report to their makers are imported where they are kept from it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sdsr

ROOT = Path(sdsr.__file__).parent
IMPORT = re.compile(r"^\s*(import|from) (onnxruntime|openvino)\b", re.MULTILINE)


def test_they_are_imported_in_one_place() -> None:
    places = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if IMPORT.search(path.read_text())]
    assert places == ["quiet_runtimes.py"]


def test_openvino_finds_nothing_to_send_by(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    code = """
import sys
from sdsr.quiet_runtimes import import_openvino
import_openvino().Core()
print(*(name for name in sys.modules if name.startswith("openvino_telemetry")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
