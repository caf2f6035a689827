"""A paper is one folder: without it and its line in the registry, everything else is there and lawful.

All are deleted at once: what is left can then know none of them, and that none knows another the layer test sees.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sdsr.methods import FOLDERS

ROOT = Path(__file__).parents[2]
GONE = FOLDERS
EVERYTHING = """
import importlib, pkgutil, sys
import sdsr
for module in pkgutil.walk_packages(sdsr.__path__, "sdsr."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from sdsr.methods import METHODS
from sdsr.methods.ablations import ABLATIONS
from sdsr.methods.published import PUBLISHED
from sdsr.training.recipes import RECIPES
sys.path.insert(0, "tests")
import test_layers
test_layers.test_modules_import_from_lower_layers_only()
test_layers.test_no_paper_imports_another()
print(sdsr.__file__, *METHODS, *ABLATIONS, *PUBLISHED, *RECIPES)
"""


@pytest.fixture
def without(tmp_path: Path) -> Path:
    """A copy of the package and of the layer test, without papers; weights and photos stay where they are."""
    shutil.copytree(ROOT / "sdsr", tmp_path / "sdsr", ignore=shutil.ignore_patterns("assets", "__pycache__", *GONE))
    (tmp_path / "sdsr" / "assets").symlink_to(ROOT / "sdsr" / "assets")
    registry = tmp_path / "sdsr" / "methods" / "__init__.py"
    lines = registry.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.strip(' ",\n') not in GONE]
    assert len(kept) == len(lines) - len(GONE)
    registry.write_text("".join(kept))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_layers.py", tmp_path / "tests")
    return tmp_path


def run(folder: Path, program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_folders_and_their_lines_can_be_deleted(without: Path) -> None:
    place, *names = run(without, EVERYTHING).split()
    assert Path(place).is_relative_to(without)
    assert names == ["small-autoencoder", "small-prior", "small-perceptual", "tiny-decoder"]
