"""The gallery's command: which strips it draws, their columns and their order, with small random networks."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as pillow

from bench import gallery
from sdsr.errors import InputError
from sdsr.losses.real_esrgan import RealEsrgan
from sdsr.methods.one_step.recipes import D3SR_SMALL, DECODED
from sdsr.upscaling import Upscaler

NEW = ["new, 0 (default)", "new, 0.5", "new, 1"]
LABELS = ["bicubic", "old default", *NEW, "Real-ESRGAN x4+", "truth"]


def shard_of(folder: Path, keys: set[str], size: tuple[int, int]) -> Path:
    """A shard of noise under these keys."""
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "photos.tar", "w") as tar:
        for key in sorted(keys):
            memory = io.BytesIO()
            pillow.fromarray(rng.integers(256, size=(*size, 3), dtype=np.uint8)).save(memory, "JPEG")
            entry = tarfile.TarInfo(f"{key}.jpg")
            entry.size = memory.tell()
            memory.seek(0)
            tar.addfile(entry, memory)
    return folder / "photos.tar"


def test_twelve_kinds_are_shown_each_with_a_seed_of_its_own():
    names = [name for name, _ in gallery.strips()]
    assert len(gallery.CHOSEN) == 12
    assert [shown.seed for shown in gallery.CHOSEN] == [*range(1, 13)]
    assert len({shown.key for shown in gallery.CHOSEN}) == 12
    assert len(set(names)) == len(names) == 12 + len(gallery.FAILURES)


def test_the_page_shows_every_strip():
    page = Path(gallery.__file__).parents[1] / "docs" / "gallery.md"
    text = page.read_text(encoding="utf-8")
    for name, _ in gallery.strips():
        assert f"(images/gallery/{name}.webp)" in text
        assert (page.parent / f"images/gallery/{name}.webp").is_file()


def test_columns_are_results_in_order_at_the_truths_size():
    torch.manual_seed(0)
    new = Upscaler(D3SR_SMALL, DECODED.build("tiny", "cpu"))
    old = Upscaler(gallery.OLD, gallery.OLD.restoring.build("tiny", "cpu"))
    restorers = gallery.Restorers(old=old, new=new, teacher=RealEsrgan(width=4, growth=4, blocks=1))
    truth = torch.rand(1, 3, 48, 64)
    columns = gallery.columns_of(restorers, truth, seed=1)
    assert list(columns) == LABELS
    assert {photo.shape for photo in columns.values()} == {(48, 64, 3)}
    assert not np.array_equal(columns["new, 0 (default)"], columns["new, 1"])
    assert np.abs(columns["truth"] / 255 - truth[0].permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


def test_photos_are_cut_to_whole_lq_pixels(tmp_path):
    keys = {shown.key for _, shown in gallery.strips()}
    photos = gallery.photos_of(shard_of(tmp_path, keys, (18, 23)))
    assert set(photos) == keys
    assert {photo.shape for photo in photos.values()} == {(1, 3, 16, 20)}


def test_another_shard_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not in"):
        gallery.photos_of(shard_of(tmp_path, {"another"}, (16, 16)))
