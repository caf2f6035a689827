"""A report as one file of HTML that needs no other: pictures of screen size, a slider between them, maps, figures."""

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from sdsr.errors import OutputError
from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.reports.report import Report
from sdsr.reports.verdict import verdict
from sdsr.trust.consistency import SLIGHT, STRONG
from sdsr.trust.mask import unmasked

PROXY_PX = 1400
"""The longer side of the pictures in a report; their files are beside it, and full size."""
_QUALITY = 88
_ASSETS = Path(__file__).parent


def write_report(report: Report, path: Path) -> None:
    """Write the page, and beside it the same figures as JSON; raise OutputError where that can't be."""
    page = render(report).encode()
    figures = (
        json.dumps(
            {
                "name": report.name,
                "verdict": verdict(report),
                **report.figures(),
                "warnings": report.warnings,
                "notes": report.notes(),
            },
            indent=2,
        )
        + "\n"
    )
    try:
        path.write_bytes(page)
        path.with_suffix(".json").write_text(figures, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"report (={path}) can't be written ({error.strerror}); choose another place.") from error


def render(report: Report) -> str:
    """Return the page."""
    size = _proxy_size(report.result.size)
    layers = {name: _as_png(picture) for name, picture in _maps(report).items()}
    content = {
        "title": f"{report.name}: how far to believe it",
        "before": _as_jpeg(_resized(report.photo, size)),
        "after": _as_jpeg(_resized(report.result, size)),
        "width": str(size[1]),
        "height": str(size[0]),
        "verdict": escape(verdict(report)),
        "warnings": "".join(f"<p class=warning role=alert>{escape(each)}</p>" for each in report.warnings),
        "layers": "".join(
            f'<label><input type=radio name=layer value="map{index}">{escape(name)}</label>'
            for index, name in enumerate(layers)
        ),
        "overlays": "".join(
            f'<img class=overlay id=map{index} alt="{escape(name)}" hidden src="{picture}">'
            for index, (name, picture) in enumerate(layers.items())
        ),
        "figures": _table(_flat(report.figures())),
        "notes": "".join(f"<p>{escape(note)}</p>" for note in report.notes()),
        "card": escape(report.card),
        "style": (_ASSETS / "page.css").read_text(encoding="utf-8"),
        "script": (_ASSETS / "page.js").read_text(encoding="utf-8"),
    }
    template = (_ASSETS / "page.html").read_text(encoding="utf-8")
    content["title"] = escape(content["title"])
    for name, value in content.items():
        template = template.replace(f"@{name}@", value)
    return template


def _maps(report: Report) -> dict[str, np.ndarray]:
    """The maps as RGBA: transparent where nothing is to be said, red where most is."""
    maps = {"contradicts the photo": _heat(report.consistency.map, STRONG, least=SLIGHT)}
    if report.clues is not None:
        maps["passes disagree"] = _heat(report.clues.disagreement, 24 / 255)
    expected = report.expected
    if expected is not None and report.trust is not None:
        maps["expected error"] = _heat(expected, 32 / 255)
        for each in report.trust.calibrations:
            name = f"masked: error < {each.error * 255:.1f} of 255 with {each.confidence:.0%} elsewhere"
            maps[name] = _covered(~unmasked(expected, each.threshold))
    if report.text:
        maps["text"] = _outlined(report.text, report.photo.size)
    return maps


def _heat(values: np.ndarray, most: float, *, least: float = 0.0) -> np.ndarray:
    """Nothing up to `least`, then from yellow to red at `most`."""
    strength = np.clip((values - least) / (most - least), 0, 1)
    colors = np.stack((np.ones_like(strength), 0.75 * (1 - strength), np.zeros_like(strength), 0.85 * strength), -1)
    return np.rint(colors * 255).astype(np.uint8)


def _outlined(places: Sequence[Region], size: tuple[int, int]) -> np.ndarray:
    """Red over places of a photo of `size`, light enough to read through."""
    colors = np.zeros((*size, 4), np.uint8)
    for place in places:
        colors[place.rows, place.columns] = (230, 40, 0, 90)
    return colors


def _covered(mask: np.ndarray) -> np.ndarray:
    """Gray over what the promise leaves out."""
    colors = np.full((*mask.shape, 4), (90, 90, 100, 0), np.uint8)
    colors[mask, 3] = 215
    return colors


def _proxy_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, PROXY_PX / max(size))
    height, width = (max(1, round(side * factor)) for side in size)
    return height, width


def _resized(photo: Photo, size: tuple[int, int]) -> PillowImage.Image:
    pixels = photo.pixels if photo.pixels.dtype == np.uint8 else (photo.pixels >> 8).astype(np.uint8)
    return PillowImage.fromarray(pixels).resize((size[1], size[0]), PillowImage.Resampling.BICUBIC)


def _as_jpeg(picture: PillowImage.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _as_png(colors: np.ndarray) -> str:
    buffer = io.BytesIO()
    PillowImage.fromarray(colors).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _flat(figures: dict[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested figures as lines."""
    lines: dict[str, str] = {}
    for name, value in figures.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            lines |= _flat(value, f"{label}: ")
        elif isinstance(value, list):
            for number, each in enumerate(value, 1):
                lines |= _flat(each, f"{label} {number}: ") if isinstance(each, dict) else {f"{label} {number}": each}
        else:
            lines[label] = "∞" if value is None else str(value)
    return lines


def _table(lines: dict[str, str]) -> str:
    rows = (f"<tr><th scope=row>{escape(name)}<td>{escape(value)}" for name, value in lines.items())
    return f"<table>{''.join(rows)}</table>"
