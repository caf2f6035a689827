"""A method on the tiny prior, and a tree of photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """photos/: a.jpg, a.png, sub/b.png (16x12), what is hidden or no photo, and broken.jpg, which is text."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8))
    for name in ("a.jpg", "a.png", "sub/b.png", ".hidden.png"):
        picture.save(folder / name)
    (folder / "broken.jpg").write_text("no photo")
    (folder / "Thumbs.db").write_bytes(b"\0")
    (folder / ".git").mkdir()
    picture.save(folder / ".git" / "c.png")
    return folder
