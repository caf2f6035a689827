"""The layer law: a module imports from lower layers only; read from the sources, imports inside functions included."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "sdsr"
LAYERS = (
    ("photos",),
    ("images", "diffusion"),
    ("prior", "data", "request", "method_folders"),
    ("adapters", "losses"),
    ("discriminators", "metrics"),
    ("restoration",),
    ("objectives", "checkpoints", "job", "less_memory", "graphs", "trust"),
    ("methods", "crops"),
    ("embedded", "models", "jobs"),
    ("upscaling", "training", "exporting"),
    ("engines",),
    ("batch", "studies", "reports"),
    ("web",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
LEVEL |= {
    "METHODS": LEVEL["methods"],
    "Upscaler": LEVEL["upscaling"],
    "load_model": LEVEL["engines"],
}  # through the public door
FREE = {
    "",
    "tensors",
    "array_api",
    "extras",
    "allocator",
    "lean_imports",
    "quiet_runtimes",
    "region",
    "errors",
    "digests",
    "processor",
    "kept_probes",
    "__version__",
}
DOORS = {"__init__", "__main__"}
DEVICE_AWARE = ("cli/", "web/", "training/", "prior/running.py")  # running chooses the dtype a device computes in


def imported(node: ast.AST, package: str) -> Iterator[str]:
    """The dotted names a node imports, or takes from `sdsr` itself; relative ones are resolved against the package."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*base, *filter(None, [node.module])])
        yield from (f"{module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sdsr":
        yield f"sdsr.{node.attr}"


def violations(source: str, where: str) -> list[str]:
    """The imports of a module, given as its path inside sdsr, that break the law: "file:line: why"."""
    parts = Path(where).with_suffix("").parts
    own = parts[0]
    package = ".".join(("sdsr", *parts[:-1]))
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in imported(node, package):
            root, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if root == "sdsr" and (reason := breach(own, target)):
                found.append(f"sdsr/{where}:{getattr(node, 'lineno', 0)}: {reason}")
    return found


def crossings(source: str, where: str) -> list[str]:
    """The imports by which one paper's folder reaches into another's: "file:line: why"."""
    parts = Path(where).with_suffix("").parts
    if len(parts) < 3 or parts[0] != "methods":
        return []
    folders = {path.name for path in (SOURCES / "methods").iterdir() if path.is_dir()}
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in imported(node, ".".join(("sdsr", *parts[:-1]))):
            target = name.split(".")[2] if name.startswith("sdsr.methods.") else parts[1]
            if target in folders and target != parts[1]:
                found.append(f"sdsr/{where}:{getattr(node, 'lineno', 0)}: {parts[1]} imports {target}, another paper")
    return found


def breach(own: str, target: str) -> str | None:
    """Why a module of `own` may not import `target`; None if it may."""
    if target in FREE or target == own or own in DOORS:
        return None
    if own in FREE:
        return f"{own} is below all layers and imports {target}"
    for name in (own, target):
        if name not in LEVEL:
            return f"{name} has no layer; give it one in tests/test_layers.py and docs/architecture.md"
    if LEVEL[target] == LEVEL[own]:
        return f"{own} imports {target}, and both are of layer {LEVEL[own]}"
    if LEVEL[target] > LEVEL[own]:
        return f"{own} (layer {LEVEL[own]}) imports {target} (layer {LEVEL[target]})"
    return None


def modules() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCES.rglob("*.py")):
        yield path.relative_to(SOURCES).as_posix(), path.read_text()


def cuda_literals(source: str) -> list[int]:
    """The lines with a string that names the device."""
    tree = ast.parse(source)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"cuda(:.*)?", node.value)
        and node not in docstrings
    ]


def test_modules_import_from_lower_layers_only() -> None:
    found = [line for where, source in modules() for line in violations(source, where)]
    assert not found, "\n" + "\n".join(found)


def test_no_paper_imports_another() -> None:
    found = [line for where, source in modules() for line in crossings(source, where)]
    assert not found, "what has two users moves down:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "from sdsr.methods.OTHER.recipes import RECIPES",
        "from sdsr.methods import OTHER",
        "import sdsr.methods.OTHER.recipes",
        "from ..OTHER import recipes",
        "def late():\n    from sdsr.methods.OTHER.recipes import RECIPES",
    ],
)
def test_an_import_of_another_paper_is_found(source: str) -> None:
    one, other = sorted(path.parent.name for path in SOURCES.glob("methods/*/recipes.py"))[:2]
    source = source.replace("OTHER", other)
    assert len(crossings(source, f"methods/{one}/made_up.py")) == 1
    assert crossings(source, f"methods/{other}/made_up.py") == crossings(source, "methods/made_up.py") == []


def test_torchvision_is_never_imported() -> None:
    found = [
        f"sdsr/{where}:{getattr(node, 'lineno', 0)}"
        for where, source in modules()
        for node in ast.walk(ast.parse(source))
        for name in imported(node, "sdsr")
        if name.split(".")[0] == "torchvision"
    ]
    assert not found, "the core runs without torchvision: " + ", ".join(found)


def test_pipelines_of_diffusers_are_never_imported() -> None:
    found = [
        f"sdsr/{where}:{getattr(node, 'lineno', 0)}"
        for where, source in modules()
        for node in ast.walk(ast.parse(source))
        for name in imported(node, "sdsr")
        if name.startswith("diffusers.pipelines")
    ]
    assert not found, "they take seconds to load: " + ", ".join(found)


def test_only_device_aware_packages_name_cuda() -> None:
    found = [
        f"sdsr/{where}:{line}"
        for where, source in modules()
        if not where.startswith(DEVICE_AWARE)
        for line in cuda_literals(source)
    ]
    assert not found, "device and dtype follow the inputs: " + ", ".join(found)


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("images/made_up.py", "from sdsr.prior.prior import Prior"),
        ("images/made_up.py", "import sdsr.prior.prior"),
        ("images/made_up.py", "from sdsr import prior"),
        ("images/made_up.py", "from ..prior.prior import Prior"),
        ("images/made_up.py", "from .. import prior"),
        ("images/made_up.py", "def late():\n    from sdsr.prior.prior import Prior"),
        ("images/made_up.py", "if TYPE_CHECKING:\n    from sdsr.prior.prior import Prior"),
        ("images/made_up.py", "from sdsr.diffusion import schedule"),
        ("images/made_up.py", "import sdsr\nsdsr.Upscaler"),
        ("images/__init__.py", "from ..prior import Prior"),
        ("training/made_up.py", "from sdsr import Upscaler"),
        ("errors.py", "from sdsr.photos import files"),
        ("surprise/made_up.py", "from sdsr.photos import files"),
    ],
)
def test_a_breach_is_found(where: str, source: str) -> None:
    (line,) = violations("import math\n" + source, where)
    assert line.startswith(f"sdsr/{where}:{2 + source.count(chr(10))}: ")


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("prior/made_up.py", "from sdsr.photos import files"),
        ("prior/made_up.py", "from . import evidence"),
        ("prior/made_up.py", "from .evidence import Evidence"),
        ("images/made_up.py", "from sdsr.tensors import Image\nfrom ..errors import InputError"),
        ("training/made_up.py", "import sdsr\nfrom sdsr import __version__\nversion = sdsr.__version__"),
        ("cli/made_up.py", "import sdsr\nfrom sdsr.upscaling import Upscaler"),
        ("images/made_up.py", "import torch.nn\nfrom prior import something"),
    ],
)
def test_a_lawful_import_passes(where: str, source: str) -> None:
    assert violations(source, where) == []


def test_a_cuda_literal_is_found_outside_docstrings_only() -> None:
    assert cuda_literals('"""cuda"""\ndevice = "cuda:0"\nname = "barracuda"\n') == [2]
