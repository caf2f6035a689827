"""`import sdsr` is light, and what it offers is found where it lives."""

import subprocess
import sys

import pytest

import sdsr

HEAVY = ("torch", "diffusers", "transformers", "scipy", "matplotlib", "PIL", "numpy")


def heavy_after(code: str) -> str:
    """Which heavy modules are loaded after running the code in a fresh interpreter."""
    probe = f"import sys\n{code}\nprint(*(name for name in {HEAVY} if name in sys.modules), sep=',', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return done.stderr.strip()


def test_the_probe_sees_a_heavy_import() -> None:
    assert heavy_after("import numpy") == "numpy"


def test_importing_loads_nothing_heavy() -> None:
    assert heavy_after("import sdsr; sdsr.__version__; dir(sdsr)") == ""


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Upscalar'"):
        _ = sdsr.Upscalar  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", sdsr.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(sdsr, name) is not None
    assert name in dir(sdsr)
