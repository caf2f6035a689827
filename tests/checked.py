"""Types checked while tests run: functions and dataclasses of the package by beartype, shapes of arrays by jaxtyping.

What jaxtyping's own hook does, in a third of the time. That one checks each argument twice, by two functions that it
writes, binds each call to its signature, and marks the compiled files of torch and diffusers that a checked module
imports, which are not found under that mark and were compiled again in each process. Here a function is wrapped once,
shapes are only remembered for those that have arrays, and our own modules alone are compiled anew.
"""

import ast
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from types import CodeType
from typing import Any, ForwardRef, get_args, get_type_hints

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError, jaxtyped

typed: Any = beartype(conf=BeartypeConf(violation_type=TypeCheckError))
"""A wrong type is a TypeError, as where Python itself finds it."""
SHAPES: Any = jaxtyped("context")
"""Within it, a dimension of one name has one size."""
NAME = "<checked>"
"""What `checked` is called in the modules; nothing written there can be."""
_BY_CODE: dict[CodeType, "_Kinds"] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """What annotations have: arrays, sizes that are arguments ("{height}"), names in quotes."""

    shaped: bool
    sized: bool
    quoted: bool


def checked(made: Any) -> Any:
    """Return the function or class, which checks what it is given and returns, or what its fields are given."""
    if isinstance(made, type):
        init = vars(made).get("__init__")
        if is_dataclass(made) and inspect.isfunction(init) and not hasattr(init, "__wrapped__"):
            setattr(made, "__init__", checked(init))  # noqa: B010  a class of any kind
        return made
    kinds = _kinds(made)
    if kinds.sized or inspect.isgeneratorfunction(made):  # whose arguments are checked when it is called
        return jaxtyped(made, typechecker=typed)
    bare = _resolved(made) if kinds.quoted else typed(made)
    return _shaped(bare) if kinds.shaped else bare


def _shaped(bare: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(bare)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with SHAPES:
            return bare(*args, **kwargs)

    return wrapped


def _kinds(function: Any) -> _Kinds:
    """What a function's annotations have; of one within another, looked up once for all."""
    kinds = _BY_CODE.get(function.__code__)
    if kinds is None:
        hints = [each for hint in function.__annotations__.values() for each in _parts(hint)]
        quoted = any(isinstance(hint, (str, ForwardRef)) for hint in hints)
        if quoted:
            hints = [each for hint in _hints(function).values() for each in _parts(hint)]
        arrays = [hint for hint in hints if isinstance(hint, type) and issubclass(hint, AbstractArray)]
        sized = any("{" in hint.dim_str for hint in arrays)
        kinds = _BY_CODE[function.__code__] = _Kinds(shaped=bool(arrays), sized=sized, quoted=quoted)
    return kinds


def _parts(hint: Any) -> list[Any]:
    parts = [each for inner in get_args(hint) for each in _parts(inner)]
    return [hint, *(each for inner in hint for each in _parts(inner))] if isinstance(hint, list) else [hint, *parts]


def _hints(function: Any) -> dict[str, Any]:
    """Annotations without quotes; where one names what isn't there yet, or for pyright only, it can be anything."""
    return {name: _hint(hint, function.__globals__) for name, hint in function.__annotations__.items()}


def _hint(hint: Any, names: dict[str, Any]) -> Any:
    def stub() -> None: ...

    stub.__annotations__ = {"it": hint}
    try:
        return get_type_hints(stub, names, include_extras=True)["it"]
    except NameError:
        return Any


def _resolved(function: Any) -> Any:
    written = function.__annotations__
    function.__annotations__ = _hints(function)
    try:
        return typed(function)
    finally:
        function.__annotations__ = written


class _Decorating(ast.NodeTransformer):
    """Puts `checked` next to each function, where annotations are whole, and around each class, a dataclass by then."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.decorator_list.append(ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.decorator_list.insert(0, ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return node


class _CheckedLoader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        tree = _Decorating().visit(ast.parse(self.get_data(self.path), self.path))
        return compile(tree, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: Any) -> None:
        vars(module)[NAME] = checked
        super().exec_module(module)


class CheckedModules(MetaPathFinder):
    """Finds the modules of these packages, and has them checked."""

    def __init__(self, packages: list[str]) -> None:
        self.packages = set(packages)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if ".".join(fullname.split(".")[:2]) not in self.packages:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _CheckedLoader(spec.loader.name, spec.loader.path)
        return spec


def check_modules(packages: list[str]) -> None:
    """Check what is imported from now on."""
    sys.meta_path.insert(0, CheckedModules(packages))
