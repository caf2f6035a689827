"""The pages: files and names that they tell are there, the tour visits each file once, links lead somewhere."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sdsr.cli.table import COMMANDS, MANIFEST, STUDIES
from sdsr.training.configuration import stage_toml

ROOT = Path(__file__).parents[1]
TOUR = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("architecture", "adding-a-method")
}
_FILE = re.compile(r"`((?:[a-z_]+/)*[a-z_]+\.py)`")
_NAME = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\([^`]*\))?`")
_DEFINED = re.compile(r"(?:\bdef |\bclass )(\w+)|^\s*(\w+)\s*[:=]|[(,]\s*\*{0,2}(\w+)\s*[:=]", re.MULTILINE)
_SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
WITH_LINKS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "sdsr" / "assets").rglob("*.md"),
    *(ROOT / "tests").rglob("*.md"),
]
OTHERS = {"cross_attention_kwargs", "dataclasses", "replace", "nn", "Module", "ModuleDict", "ast", "RECIPE"}
"""Names of libraries, and one that stands for any recipe's."""


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    _, found, rest = TOUR.partition(f"\n## {title}\n")
    assert found, f"no section {title}"
    return rest.partition("\n## ")[0]


@cache
def defined() -> set[str]:
    """Every name that the package defines: functions, classes, fields, parameters, constants, modules."""
    paths = [*(ROOT / "sdsr").rglob("*.py"), ROOT / "tests" / "methods" / "contract.py"]
    found = (names for path in paths for names in _DEFINED.findall(path.read_text(encoding="utf-8")))
    return {name for names in found for name in names} | {path.stem for path in paths}


def test_the_tour_visits_each_file_once() -> None:
    visited = Counter(_FILE.findall(section("A photo's way") + section("A training batch's way")))
    assert len(visited) > 50
    assert [name for name, times in visited.items() if times > 1] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_page_is_there(page: str) -> None:
    tops = ("sdsr", ".", "sdsr/methods/invsr")  # beside which adding-a-method is read
    missing = {name for name in _FILE.findall(PAGES[page]) if not any((ROOT / top / name).is_file() for top in tops)}
    assert missing <= {"utils.py"}, "which is what we refuse"


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_the_page_is_defined(page: str) -> None:
    named = {
        part
        for name in _NAME.findall(PAGES[page])
        if not name.endswith((".py", ".md", ".json"))
        for part in name.split(".")
    }
    assert len(named) > 30
    assert named - defined() <= OTHERS


def test_every_package_has_its_row() -> None:
    packages = {path.parent.name for path in (ROOT / "sdsr").glob("*/__init__.py")}
    rows = {name for line in section("The rooms").splitlines() for name in re.findall(r"`([a-z_]+)/`", line)}
    assert packages <= rows


def test_every_command_is_in_the_table_of_the_front_page() -> None:
    front = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `sdsr ([^|]+) \|", front, re.MULTILINE)
    named = {word for row in table for word in re.findall(r"[a-z][a-z-]+", row)}
    assert {*COMMANDS, *STUDIES, *MANIFEST} - named == set()


def anchors(page: Path) -> set[str]:
    """What `#...` may name on a page: its headings, in lower case, without punctuation, with hyphens for spaces."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_that_the_sources_name_is_there() -> None:
    sources = [path for folder in ("sdsr", "bench") for path in (ROOT / folder).rglob("*.py")]
    named = {page for path in sources for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text(encoding="utf-8"))}
    assert len(named) > 5
    assert {page for page in named if not (ROOT / page).is_file()} == set()


def test_the_relative_of_a_method_is_one() -> None:
    (piece,) = _SNIPPET.findall(PAGES["adding-a-method"])
    names: dict[str, Any] = {}
    exec(piece, names)
    recipe = names["MINE_SMALL"]
    assert (recipe.name, recipe.plan.times) == ("mine-small", (199,))
    assert recipe.stage().build("tiny").parts.modules
    assert "times = [199]" in stage_toml(recipe.stage())


def test_the_pieces_for_python_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pieces = _SNIPPET.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    assert len(pieces) > 4
    names: dict[str, object] = {}
    for piece in pieces:
        exec(piece, names)
