"""What shape the source is in: its size, where types are given up, and what is crowded; one column for each revision.

python bench/shape.py [REVISION ...] [--long]
python bench/shape.py [REVISION] --against REVISION

A revision is one of git's ("HEAD", "1df6890", ...); without any, it is the working tree. Packages follow the whole.
Lines are those that aren't blank, statements those of the syntax tree without docstrings. `Any` counts annotations and
other uses, not imports.
A parallel assignment gives several names one value each in one statement (`a, b = x, y`); exchanges (`a, b = b, a`)
are none. Upward imports are found by that revision's own tests/test_layers.py. `--long` lists long functions.

`--against` compares statements like for like: modules that only what was brought since needs (`bench/brought.py` names
them) stand apart from those that were there, wherever these are now. "A line each" is what the older revision has with
each value of a parallel assignment in a statement of its own, as is the rule now.
"""

import argparse
import ast
import importlib.util
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdsr.metrics.tables import aligned

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.brought import brought_by

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 60
RENAMED = {"critics": "discriminators"}  # packages
ANYWHERE = "cli"  # where functions may be longer: the options of a command are its parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What was counted in some modules."""

    lines: int = 0
    statements: int = 0
    any_types: int = 0
    parallel: int = 0
    together: int = 0  # values of parallel assignments beyond the first of each
    long_functions: tuple[str, ...] = ()

    def __add__(self, other: "Shape") -> "Shape":
        return Shape(
            lines=self.lines + other.lines,
            statements=self.statements + other.statements,
            any_types=self.any_types + other.any_types,
            parallel=self.parallel + other.parallel,
            together=self.together + other.together,
            long_functions=self.long_functions + other.long_functions,
        )

    def per_thousand_lines(self, count: int) -> str:
        return f"{1000 * count / max(1, self.lines):.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The modules of a revision by their paths inside sdsr, and its upward imports."""

    modules: dict[str, Shape]
    upward: tuple[str, ...]

    @property
    def whole(self) -> Shape:
        return sum(self.modules.values(), start=Shape())

    @property
    def packages(self) -> dict[str, Shape]:
        """The packages by name; modules at the top stand under "."."""
        return _summed(self.modules, package_of)


def package_of(where: str) -> str:
    """Return the package of a module, given as its path inside sdsr."""
    return where.partition("/")[0] if "/" in where else "."


def _summed(modules: dict[str, Shape], name_of: Callable[[str], str]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for where, shape in modules.items():
        name = name_of(where)
        found[name] = found.get(name, Shape()) + shape
    return found


def shape_of(source: str, where: str) -> Shape:
    """Return the counts of one module, given as its path inside sdsr."""
    nodes = list(ast.walk(ast.parse(source)))
    in_parallel = list(filter(None, map(_values_in_parallel, nodes)))
    docstrings = sum(map(_has_docstring, nodes))
    long_functions = () if where.startswith(f"{ANYWHERE}/") else tuple(_long_functions(nodes, where))
    return Shape(
        lines=sum(map(bool, map(str.strip, source.splitlines()))),
        statements=sum(isinstance(node, ast.stmt) for node in nodes) - docstrings,
        any_types=sum(map(_is_any, nodes)),
        parallel=len(in_parallel),
        together=sum(in_parallel) - len(in_parallel),
        long_functions=long_functions,
    )


def _has_docstring(node: ast.AST) -> bool:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return documented and ast.get_docstring(node, clean=False) is not None


def _is_any(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "Any"
    return isinstance(node, ast.Name) and node.id == "Any"


def _values_in_parallel(node: ast.AST) -> int:
    """How many values a parallel assignment gives; 0 for what is none."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)):
        return 0
    targets = [target for target in node.targets if isinstance(target, ast.Tuple)]
    given = {ast.unparse(value) for value in node.value.elts}
    is_parallel = any({ast.unparse(name) for name in target.elts} != given for target in targets)
    return len(node.value.elts) if is_parallel else 0


def _long_functions(nodes: list[ast.AST], where: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"sdsr/{where}:{node.lineno}: {node.name} has {length} lines"


def examine(root: Path) -> Source:
    """Return the shape of the checkout in a folder."""
    modules: dict[str, Shape] = {}
    for path in sorted((root / "sdsr").rglob("*.py")):
        where = path.relative_to(root / "sdsr").as_posix()
        modules[where] = shape_of(path.read_text(encoding="utf-8"), where)
    return Source(modules=modules, upward=tuple(_upward(root)))


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


def comparison(then: Source, now: Source) -> str:
    """What each package had then, has now of that, and what is apart; then each thing that was brought, by size."""
    apart = {where: shape for where, shape in now.modules.items() if brought_by(where) is not None}
    kept = _summed({where: shape for where, shape in now.modules.items() if where not in apart}, package_of)
    before = _summed(then.modules, lambda where: RENAMED.get(package_of(where), package_of(where)))
    beside = _summed(apart, package_of)
    rows = [_change(name, *(each.get(name, Shape()) for each in (before, kept, beside))) for name in sorted(kept)]
    rows += [_change(name, Shape(), Shape(), beside[name]) for name in sorted(beside.keys() - kept.keys())]
    whole = (sum(each.values(), start=Shape()) for each in (before, kept, beside))
    head = ["statements", "then", "a line each", "now", "change", "brought since"]
    things = sorted(_summed(apart, lambda where: brought_by(where) or "").items(), key=lambda item: -item[1].statements)
    brought = [["brought since", "statements"], *([name, f"{shape.statements:,}"] for name, shape in things)]
    return f"{aligned([head, _change('sdsr', *whole), *rows])}\n\n{aligned(brought)}\n"


def _change(name: str, before: Shape, kept: Shape, beside: Shape) -> list[str]:
    line_each = before.statements + before.together
    change = kept.statements + kept.together - line_each
    return [
        name,
        f"{before.statements:,}",
        f"{line_each:,}",
        f"{kept.statements:,}",
        f"{change:+,}",
        f"{beside.statements:,}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", metavar="REVISION")
    parser.add_argument("--long", action="store_true", help="list long functions and upward imports")
    parser.add_argument("--against", metavar="REVISION", help="compare statements like for like with an older one")
    arguments = parser.parse_args()
    if arguments.against:
        now = examine_revision(arguments.revisions[0]) if arguments.revisions else examine(ROOT)
        sys.stdout.write(comparison(examine_revision(arguments.against), now))
        return
    found = {revision: examine_revision(revision) for revision in arguments.revisions} or {"now": examine(ROOT)}
    sys.stdout.write(table(found))
    if arguments.long:
        for name, source in found.items():
            print(f"\n{name}", *source.whole.long_functions, *source.upward, sep="\n")


if __name__ == "__main__":
    main()
