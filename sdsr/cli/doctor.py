"""`sdsr doctor`: what is installed, what this machine can do, and what is missing for which feature."""

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from json import dumps
from pathlib import Path

import imagecodecs
import typer
from packaging.requirements import Requirement
from PIL import features
from rich.table import Table

import sdsr
from sdsr import extras
from sdsr.cli.doctor_devices import Device, devices
from sdsr.cli.doctor_engines import EngineHere, engines
from sdsr.cli.options import Json
from sdsr.cli.tables import plain_table, print_tables
from sdsr.digests import file_sha256

ASSETS = Path(__file__).parents[1] / "assets"
METHODS = tuple(module.replace("_", "-") for module in extras.METHODS)
CORE = ("numpy", "pillow", "tifffile", "imagecodecs", "onnxruntime")
FORMATS = {
    "JPEG": ("jpg",),
    "PNG": ("PNG",),
    "WebP": ("webp", "WEBP"),
    "TIFF": ("DEFLATE", "LZW"),
    "AVIF": ("AVIF",),
    "JPEG XL": ("JPEGXL", "BROTLI"),
    "ICC profiles": ("CMS",),
}
"""What reads and writes each: features of Pillow, and codecs of imagecodecs in capitals."""


_MISSING = ("[red]missing[/red]", "not here")
_IS_MISSING = " is missing"
"""Of the core, and of an extra."""


FEATURES = {
    "methods": "the five methods, accelerators, training, studies",
    "train": "charts of a training run in TensorBoard; ImageNet features for losses and discriminators",
    "evaluate": "plots; distance of ImageNet features; LPIPS, DISTS, MANIQA, MUSIQ, CLIPIQA (non-commercial)",
    "export": "trained models as ONNX graphs",
    "web": "the web page and its HTTP API",
    "fast": "OpenVINO, another runtime of the graphs: --engine openvino",
    "sign": "signed Content Credentials, --sign",
    "heic": "photos of phones in HEIC",
    "text": "text found, --protect text and in reports",
    "ray": "folders of photos on a cluster",
    "bucket": "photos of a bucket: s3://, gs://",
}
"""What each extra of pyproject.toml is for, whose requirements are read of what is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """An optional part of the installation: what it is for, what it requires, and a phrase for each that isn't met."""

    feature: str
    requires: list[str]
    problems: list[str]


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
    extras: dict[str, Extra]


def doctor(json: Json = False) -> None:
    """Print versions, devices, embedded and published models, and what is missing for which feature."""
    facts = examine()
    if json:
        typer.echo(dumps(asdict(facts), indent=2))
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
        formats={name: all(map(_is_built, libraries)) for name, libraries in FORMATS.items()},
        extras={
            name: Extra(
                feature=feature,
                requires=[str(requirement).partition(";")[0] for requirement in _required(name)],
                problems=_problems(name),
            )
            for name, feature in FEATURES.items()
        },
    )


def _is_built(name: str) -> bool:
    """Whether a codec is in the imagecodecs that is here, or a feature in the Pillow."""
    return getattr(imagecodecs, name).available if name.isupper() else bool(features.check(name))


def _problems(extra: str) -> list[str]:
    """Return a phrase for each requirement of an extra that isn't met, or one that says that none is known."""
    required = _required(extra)
    found = [] if required else ["what it requires isn't known, as sdsr runs without being installed"]
    for requirement in required:
        if requirement.name == "sdsr":
            found += [f"extra {name} is incomplete" for name in requirement.extras if _problems(name)]
        elif (installed := extras.version_of(requirement.name)) is None:
            found.append(f"{requirement.name}{_IS_MISSING}")
        elif not requirement.specifier.contains(installed, prereleases=True):
            found.append(f"{requirement.name} {installed} is not {requirement.specifier}")
    return found


def _required(extra: str) -> list[Requirement]:
    """Return what an extra requires, as what is installed says; nothing where that doesn't know it."""
    from importlib import metadata  # which loads much

    lines = metadata.requires("sdsr") if extras.version_of("sdsr") else None
    requirements = map(Requirement, lines or ())
    return [each for each in requirements if each.marker is not None and each.marker.evaluate({"extra": extra})]


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
    return {**own, **{name: extras.version_of(name) for name in (*CORE, *METHODS)}}


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
    no = "[red]no: reinstall pillow and imagecodecs[/red]"
    yield _table("Image formats", [(name, "yes" if there else no) for name, there in facts.formats.items()])
    yield _table("Extras", [(name, extra.feature, _verdict(name, extra)) for name, extra in facts.extras.items()])


def _device_cells(device: Device) -> tuple[str, ...]:
    return (
        f"{device.device}{' (default)' if device.default else ''}",
        device.name,
        f"{device.free_bytes / 2**30:.1f} of {device.total_bytes / 2**30:.1f} GiB free",
        device.runs,
    )


def _verdict(name: str, extra: Extra) -> str:
    missing = [problem.removesuffix(_IS_MISSING) for problem in extra.problems if problem.endswith(_IS_MISSING)]
    told = [problem for problem in extra.problems if not problem.endswith(_IS_MISSING)]
    if missing:
        told.append(f"{', '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing")
    return f"{', '.join(told)}: pip install 'sdsr\\[{name}]'" if told else "ready"


def _table(title: str, rows: list[tuple[str, ...]]) -> Table:
    table = plain_table(title=title, show_header=False)
    for row in rows:
        table.add_row(*row)
    return table
