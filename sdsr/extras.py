"""What the extra `methods` brings, and the sentence for whoever needs it and hasn't got it; loads none of it."""

from importlib.util import find_spec

METHODS = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "huggingface_hub")
"""Modules of the extra `methods`: what methods, training and studies compute with, and the core does without."""


def methods_here() -> bool:
    """Whether the extra `methods` is installed, all of it."""
    return all(find_spec(module) is not None for module in METHODS)


def told_of(error: ModuleNotFoundError) -> str | None:
    """Return what is missing and what to do, in one line; None for a module that no extra brings."""
    missing = (error.name or "").partition(".")[0]
    if missing not in METHODS:
        return None
    return f"{missing} is missing, which methods, training and studies need; pip install 'sdsr[methods]'."


def version_of(distribution: str) -> str | None:
    """Return the version of a distribution that is installed; None where it isn't."""
    from importlib import metadata  # which loads much

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
