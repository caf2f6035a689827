"""Real-world image super-resolution with diffusion priors.

The public door: `load_model`, `Upscaler` and `METHODS`. Importing it touches no GPU, network or file, and no torch
until one is used that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdsr.engines import load_model
    from sdsr.methods import METHODS
    from sdsr.upscaling import Upscaler

__all__ = ["METHODS", "Upscaler", "__version__", "load_model"]

__version__ = "0.1.0"

_HOMES = {"METHODS": "sdsr.methods", "Upscaler": "sdsr.upscaling", "load_model": "sdsr.engines"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdsr' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from sdsr.extras import told_of

        raise ImportError(f"sdsr.{name}: {told_of(error) or error}", name=error.name) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
