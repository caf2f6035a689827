"""One page over all reports in a folder: a row for each photo, the doubtful ones first, with a link to its own page."""

import json
import logging
from html import escape
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from sdsr.errors import OutputError
from sdsr.reports.beside import SUFFIX
from sdsr.reports.report import NOT_LOOKED_WARNING, STANDING_WARNINGS

log = logging.getLogger(__name__)

PAGE = "report.html"
_ASSETS = Path(__file__).parent
_HEADINGS = ("photo", "size", "consistency, dB", "disagreement, of 255", "text", "warnings")


class Entry(TypedDict):
    """What the overview shows of one report; None where it was infinite, not measured or not looked for."""

    name: str
    page: str
    width: int
    height: int
    consistency_db: float | None
    disagreement: float | None
    text: int | None
    warnings: list[str]


def write_overview(folder: Path) -> Path | None:
    """Write `report.html` and `report.json` over all reports below a folder; None where there are none.

    Reports that can't be read are left out, with a warning. Raises OutputError where it can't be written.
    """
    found = sorted((entry for entry in map(_read, _figures(folder)) if entry is not None), key=_doubtful_first)
    if not found:
        return None
    for entry in found:
        entry["page"] = Path(entry["page"]).relative_to(folder).as_posix()
    page = folder / PAGE
    try:
        page.write_text(_rendered(folder.name, found), encoding="utf-8")
        page.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"report (={page}) can't be written ({error.strerror}); choose another place.") from error
    return page


def _figures(folder: Path) -> list[Path]:
    return sorted(page.with_suffix(".json") for page in folder.rglob(f"*{SUFFIX}"))


def _read(path: Path) -> Entry | None:
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        size = figures["result"]
        return {
            "name": str(figures["name"]),
            "page": str(path.with_suffix(".html")),
            "width": int(size["width"]),
            "height": int(size["height"]),
            "consistency_db": figures["consistency"]["psnr_db"],
            "disagreement": figures.get("disagreement", {}).get("mean"),
            "text": len(text) if isinstance(text := figures["text"], list) else None,
            "warnings": [each for each in map(str, figures.get("warnings", [])) if each not in STANDING_WARNINGS],
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is left out of the overview (%s).", path, error)
        return None


def _doubtful_first(entry: Entry) -> tuple[bool, float, str]:
    """Those with warnings before those without, then by consistency; what is infinite comes last."""
    psnr = entry["consistency_db"]
    return not entry["warnings"], float("inf") if psnr is None else psnr, entry["name"]


def _rendered(name: str, entries: list[Entry]) -> str:
    title = escape(f"{name}: how far to believe {len(entries)} photos")
    heads = "".join(f"<th scope=col>{escape(heading)}" for heading in _HEADINGS)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}' for cell in _cells(entry))}" for entry in entries)
    style = (_ASSETS / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        f"{_not_looked(entries)}"
        "<p>The doubtful ones come first. What the figures tell, and what they do not, is on each photo's page.</p>\n"
        f"<table><thead><tr>{heads}</thead>\n<tbody>{rows}</tbody></table>\n</main>\n</body>\n</html>\n"
    )


def _not_looked(entries: list[Entry]) -> str:
    """Return, where some photos were not searched for text, the warning that each of their pages has."""
    if all(entry["text"] is not None for entry in entries):
        return ""
    return f"<p class=warning role=alert>{escape(NOT_LOOKED_WARNING)}</p>\n"


def _cells(entry: Entry) -> list[str]:
    psnr = "∞" if entry["consistency_db"] is None else f"{entry['consistency_db']:.1f}"
    spread = "" if entry["disagreement"] is None else f"{entry['disagreement']:.2f}"
    warnings = "".join(f"<p class=warning>{escape(warning)}</p>" for warning in entry["warnings"])
    link = f'<a href="{escape(quote(entry["page"]))}">{escape(entry["name"])}</a>'
    text = "" if entry["text"] is None else f"{entry['text']} x" if entry["text"] else "none"
    return [link, f"{entry['width']} x {entry['height']}", psnr, spread, text, warnings]
