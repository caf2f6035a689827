"""The tour of docs/architecture.md: each file that it names is there, and visited once."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOUR = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_FILE = re.compile(r"`((?:[a-z_]+/)*[a-z_]+\.py)`")


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    _, found, rest = TOUR.partition(f"\n## {title}\n")
    assert found, f"no section {title}"
    return rest.partition("\n## ")[0]


def test_the_tour_visits_each_file_once() -> None:
    visited = Counter(_FILE.findall(section("A photo's way") + section("A training batch's way")))
    assert len(visited) > 50
    assert [name for name, times in visited.items() if times > 1] == []


def test_every_file_of_the_page_is_there() -> None:
    missing = {name for name in _FILE.findall(TOUR) if not any((ROOT / top / name).is_file() for top in ("sdsr", "."))}
    assert missing <= {"utils.py"}, "which is what we refuse"


def test_every_package_has_its_row() -> None:
    packages = {path.parent.name for path in (ROOT / "sdsr").glob("*/__init__.py")}
    rows = {name for line in section("The rooms").splitlines() for name in re.findall(r"`([a-z_]+)/`", line)}
    assert packages <= rows
