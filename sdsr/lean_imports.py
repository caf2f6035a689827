"""diffusers without what of it restores nothing, for a process that is ours alone: the command line's.

Of diffusers a method uses a UNet and an autoencoder. Importing these imports every network that diffusers has, all of
transformers and peft for adapters that we attach ourselves, torch's compiler and SciPy: two thirds of a start. Python
that others write is left alone: there, what is hidden here may be wanted of diffusers later.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType

HIDDEN = ("peft", "scipy", "transformers")
"""What diffusers asks for while it is imported and does without; whoever imports it later finds it."""

HOLLOW = (
    "diffusers.models.autoencoders",
    "diffusers.models.controlnets",
    "diffusers.models.transformers",
    "diffusers.models.unets",
    "diffusers.hooks",
)
"""Packages that import all that is in them."""

USED = (
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.controlnets.controlnet",
    "diffusers.models.unets.unet_2d_condition",
)


class HollowPackage(ModuleType):
    """A package that isn't run before a name is asked of it that isn't one of its imported modules."""

    def __getattr__(self, name: str) -> object:
        spec = self.__spec__
        if name.startswith("__") or spec is None or spec.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue]  (an ordinary one from now on)
        spec.loader.exec_module(self)
        return getattr(self, name)


Function = Callable[..., object]
_OWN: list[bool] = []


def own_process() -> None:
    """Say that nothing runs in this process but a command of ours, so that diffusers may be imported in part."""
    _OWN.append(True)


def import_diffusers() -> None:
    """Import what methods use of diffusers, without the rest, in a process of ours; nothing where it is here already.

    Raises ModuleNotFoundError where torch or diffusers is missing.
    """
    if not _OWN or "diffusers" in sys.modules:
        return
    import torch  # noqa: F401  whole, before a part of it is replaced

    stand_ins: dict[str, ModuleType | None] = dict.fromkeys(HIDDEN) | {"torch._dynamo": _without_compiler()}
    with replaced({name: module for name, module in stand_ins.items() if name not in sys.modules}):
        for name in HOLLOW:
            hollow(name)
        for name in USED:
            import_module(name)


@contextmanager
def replaced(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Let these be imported under names that nothing was imported under yet; None is a module that is missing."""
    sys.modules.update(modules)  # pyright: ignore[reportCallIssue, reportArgumentType]  (None is allowed there)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def _without_compiler() -> ModuleType:
    """Return what stands for torch's compiler while functions are marked for it: they stay as they are."""

    def unmarked(function: Function | None = None, *_: object, **__: object) -> Function:
        return function if function is not None else unmarked

    stand_in = ModuleType("torch._dynamo")
    stand_in.__dict__.update(allow_in_graph=unmarked, disable=unmarked)
    return stand_in


def hollow(name: str) -> None:
    """Put a package, not imported yet, where imports look for it, without running it; nothing where there is none."""
    parent, _, own = name.rpartition(".")
    spec = find_spec(name)
    if spec is None:
        return
    package = module_from_spec(spec)
    package.__class__ = HollowPackage
    sys.modules[name] = package
    setattr(import_module(parent), own, package)
