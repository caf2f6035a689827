"""What `pip install -e` makes of the project file."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools.build_meta import build_editable; build_editable('..')"
SCRIPT = """
import site, sys
site.addsitedir(sys.argv[1])
from sdsr import __version__
print(__version__)
"""


def test_a_script_beside_a_clone_called_sdsr_imports_the_package(tmp_path: Path) -> None:
    """And not the clone's folder as a package without a file, as it would where a finder comes after the path."""
    pytest.importorskip("setuptools", minversion="77")
    clone = tmp_path / "sdsr"
    (clone / "sdsr" / "assets").mkdir(parents=True)
    (clone / "sdsr" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    for name in ("pyproject.toml", "README.md", "LICENSE", "sdsr/assets/README.md"):
        shutil.copyfile(ROOT / name, clone / name)
    subprocess.run([sys.executable, "-I", "-c", BUILD], cwd=clone, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-S", "-E", str(tmp_path / "script.py"), str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "1.2.3\n", done.stderr
