"""What shape the source is in: its size, where types are given up, and what is crowded; one column for each revision.

python bench/shape.py [REVISION ...] [--long]

A revision is one of git's ("HEAD", "1df6890", ...); without any, it is the working tree. Packages follow the whole.
Lines are those that aren't blank, statements those of the syntax tree without docstrings. `Any` counts annotations and
other uses, not imports.
A parallel assignment gives several names one value each in one statement (`a, b = x, y`); exchanges (`a, b = b, a`)
are none. Upward imports are found by that revision's own tests/test_layers.py. `--long` lists long functions.
"""

import argparse
import ast
import importlib.util
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sdsr.metrics.tables import aligned

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 60
ANYWHERE = "cli"  # where functions may be longer: the options of a command are its parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What was counted in some modules."""

    lines: int = 0
    statements: int = 0
    any_types: int = 0
    parallel: int = 0
    long_functions: tuple[str, ...] = ()

    def __add__(self, other: "Shape") -> "Shape":
        return Shape(
            lines=self.lines + other.lines,
            statements=self.statements + other.statements,
            any_types=self.any_types + other.any_types,
            parallel=self.parallel + other.parallel,
            long_functions=self.long_functions + other.long_functions,
        )

    def per_thousand_lines(self, count: int) -> str:
        return f"{1000 * count / max(1, self.lines):.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The packages of a revision by name (modules at the top stand under "."), and its upward imports."""

    packages: dict[str, Shape]
    upward: tuple[str, ...]

    @property
    def whole(self) -> Shape:
        return sum(self.packages.values(), start=Shape())


def shape_of(source: str, where: str) -> Shape:
    """Return the counts of one module, given as its path inside sdsr."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = sum(map(_has_docstring, nodes))
    long_functions = () if where.startswith(f"{ANYWHERE}/") else tuple(_long_functions(nodes, where))
    return Shape(
        lines=sum(map(bool, map(str.strip, source.splitlines()))),
        statements=sum(isinstance(node, ast.stmt) for node in nodes) - docstrings,
        any_types=sum(map(_is_any, nodes)),
        parallel=sum(map(_is_parallel, nodes)),
        long_functions=long_functions,
    )


def _has_docstring(node: ast.AST) -> bool:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return documented and ast.get_docstring(node, clean=False) is not None


def _is_any(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "Any"
    return isinstance(node, ast.Name) and node.id == "Any"


def _is_parallel(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)):
        return False
    targets = [target for target in node.targets if isinstance(target, ast.Tuple)]
    given = {ast.unparse(value) for value in node.value.elts}
    return any({ast.unparse(name) for name in target.elts} != given for target in targets)


def _long_functions(nodes: list[ast.AST], where: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"sdsr/{where}:{node.lineno}: {node.name} has {length} lines"


def examine(root: Path) -> Source:
    """Return the shape of the checkout in a folder."""
    packages: dict[str, Shape] = {}
    for path in sorted((root / "sdsr").rglob("*.py")):
        where = path.relative_to(root / "sdsr")
        package = where.parts[0] if len(where.parts) > 1 else "."
        shape = shape_of(path.read_text(encoding="utf-8"), where.as_posix())
        packages[package] = packages.get(package, Shape()) + shape
    return Source(packages=packages, upward=tuple(_upward(root)))


def _upward(root: Path) -> Iterator[str]:
    """Yield the lines that break the layer law, as the checkout's own test reads it."""
    path = root / "tests" / "test_layers.py"
    spec = importlib.util.spec_from_file_location(f"layers_{id(root)}", path)
    assert spec is not None, f"{path} is a module"
    assert spec.loader is not None, f"{path} is a module"
    law = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(law)
    for where, source in law.modules():
        yield from law.violations(source, where)


def examine_revision(revision: str) -> Source:
    archive = subprocess.run(
        ["git", "archive", revision, "sdsr", "tests/test_layers.py"], cwd=ROOT, capture_output=True, check=True
    )
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
        return examine(Path(folder))


def table(found: dict[str, Source]) -> str:
    """The figures of the whole, then the statements, `Any` and parallel assignments of each package."""
    wholes = [source.whole for source in found.values()]
    figures = {
        "lines": [f"{one.lines:,}" for one in wholes],
        "statements": [f"{one.statements:,}" for one in wholes],
        "Any per 1,000 lines": [one.per_thousand_lines(one.any_types) for one in wholes],
        "parallel assignments per 1,000 lines": [one.per_thousand_lines(one.parallel) for one in wholes],
        f"functions over {LONGEST_FUNCTION} lines": [str(len(one.long_functions)) for one in wholes],
        "upward imports": [str(len(source.upward)) for source in found.values()],
    }
    names = sorted({name for source in found.values() for name in source.packages})
    packages = [[name, *(_package(source.packages.get(name)) for source in found.values())] for name in names]
    whole = aligned([["sdsr", *found], *([name, *cells] for name, cells in figures.items())])
    head = ["statements, Any, parallel", *found]
    return f"{whole}\n\n{aligned([head, *packages])}\n"


def _package(shape: Shape | None) -> str:
    if shape is None:
        return "-"
    rates = (shape.per_thousand_lines(count) for count in (shape.any_types, shape.parallel))
    return ", ".join((f"{shape.statements:,}", *rates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", metavar="REVISION")
    parser.add_argument("--long", action="store_true", help="list long functions and upward imports")
    arguments = parser.parse_args()
    found = {revision: examine_revision(revision) for revision in arguments.revisions} or {"now": examine(ROOT)}
    sys.stdout.write(table(found))
    if arguments.long:
        for name, source in found.items():
            print(f"\n{name}", *source.whole.long_functions, *source.upward, sep="\n")


if __name__ == "__main__":
    main()
