"""Names that are made by Windows' rules, told by their logic: allowed, stable, and changed only where they must be."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdsr.batch import naming
from sdsr.batch.naming import fitted, windows_name

DEVICES = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"] + [
    f"{d}{n}" for d in ("COM", "LPT") for n in "0123456789¹²³"
]


def allowed(name: str) -> bool:
    """Whether Windows takes a name, written down a second time."""
    base = name.split(".")[0].rstrip(" ").upper()
    return bool(name) and not re.search(r'[<>:"/\\|?*\x00-\x1f]', name) and name[-1] not in " ." and base not in DEVICES


@pytest.mark.parametrize(
    ("stem", "ending", "expected"),
    [
        ("photo", "_x4.jpg", "photo_x4.jpg"),
        ("schöne Größe 写真", ".png", "schöne Größe 写真.png"),
        ("CON", ".png", "CON_.png"),
        ("con", "_x4.png", "con_x4.png"),
        ("aux.tar", ".png", "aux_.tar.png"),
        ("nul ", ".png", "nul_.png"),
        ("Com1", "", "Com1_"),
        ("COM¹", ".tif", "COM¹_.tif"),
        ("COM10", ".tif", "COM10.tif"),
        ("console", ".tif", "console.tif"),
        ("12:30:05", ".jpg", "12_30_05.jpg"),
        ('a<b>c"d|e?f*g\\h', ".jpg", "a_b_c_d_e_f_g_h.jpg"),
        ("new\nline\t", ".jpg", "new_line_.jpg"),
        ("folder.", "", "folder_"),
        ("folder. .", "", "folder___"),
        ("...", "", "___"),
        ("dots..", ".jpg", "dots...jpg"),
        (" leading", ".jpg", " leading.jpg"),
    ],
)
def test_only_what_is_forbidden_changes(stem: str, ending: str, expected: str) -> None:
    assert "".join(windows_name(stem, ending)) == expected
    assert allowed(expected)


@given(
    st.text(max_size=12) | st.sampled_from(DEVICES),
    st.sampled_from(["", ".jpg", "_x4.png", "_1920x1080.webp", ".CON", ". "]),
)
def test_any_name_becomes_an_allowed_one_and_stays(stem: str, ending: str) -> None:
    made = "".join(windows_name(stem, ending))
    assert allowed(made)
    assert "".join(windows_name(made)) == made
    if allowed(stem + ending):
        assert made == stem + ending


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400))
def test_names_are_allowed_and_fit_where_windows_says_how(stem: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(naming, "WINDOWS", True)
        patch.setattr(naming, "name_limit", lambda folder: 255)
        name = fitted(Path("."), stem, "_x4.png")
        assert allowed(name)
        assert len(name.encode("utf-16-le", "surrogatepass")) // 2 <= 255
    assert name.endswith("_x4.png")


def test_elsewhere_names_stay_as_they_are(tmp_path: Path) -> None:
    assert fitted(tmp_path, "12:30 aux?", ".jpg") == "12:30 aux?.jpg" or naming.WINDOWS
