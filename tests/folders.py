"""Folders of LQ photos, results and truths to test with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file


def _picture(seed: int, size_px: int) -> np.ndarray:
    """Smooth color with noise in its right half."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, size_px)
    picture = np.stack(np.broadcast_arrays(ramp[None], ramp[:, None], 90.0), axis=-1)
    picture[:, size_px // 2 :] += rng.normal(scale=20, size=(size_px, size_px - size_px // 2, 1))
    return picture.round().clip(0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """LR (48 px), out and HR (192 px) of three photos, each folder with its own tag in the names."""
    for name in ("LR", "out", "HR"):
        (tmp_path / name).mkdir()
    for index in range(3):
        truth = PillowImage.fromarray(_picture(index, 192))
        small = truth.resize((48, 48), PillowImage.Resampling.BICUBIC)
        truth.save(tmp_path / "HR" / f"Canon_{index:03d}_HR.png")
        small.save(tmp_path / "LR" / f"Canon_{index:03d}_LR4.png")
        small.resize((192, 192), PillowImage.Resampling.LANCZOS).save(tmp_path / "out" / f"Canon_{index:03d}_x4.png")
    return tmp_path


def prior_folder(folder: Path) -> Path:
    """Write what a prior in diffusers' layout is known by, a tensor in each part, and return its folder."""
    for part in ("vae", "unet", "text_encoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text("{}")
        save_file({part: torch.ones(1)}, folder / part / "model.safetensors")
    return folder
