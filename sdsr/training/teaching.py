"""Makes pairs with a teacher's answers, once: `data/taught.py` reads them."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sdsr.data.batches import Crops, Sampling, make_pairs
from sdsr.data.degradation import degradation
from sdsr.data.photos import PhotoSet
from sdsr.data.taught import PAIRS_PER_SHARD, Teaching
from sdsr.digests import file_sha256
from sdsr.errors import InputError
from sdsr.losses.real_esrgan import load_real_esrgan
from sdsr.photos.parts import whole_file

log = logging.getLogger(__name__)


def make_taught_pairs(photos: PhotoSet, teaching: Teaching, teacher: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write the shards that a folder lacks; stopped at any moment, it goes on where it was.

    Raises InputError where the folder holds pairs of another making, ModelError for a file that is no teacher.
    """
    facts = _facts(teaching, teacher, photos)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.safetensors" for index in range(teaching.shards)]
    _check_same(paths, facts)
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    if not missing:
        return
    network = load_real_esrgan(teacher).to(dtype=dtype, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stub)
    for done, index in enumerate(missing, start=1):
        tensors = _shard(photos, teaching, index, network, dtype)
        with whole_file(paths[index]) as part:
            save_file(tensors, part, {"facts": json.dumps(facts)})
        log.info("shard %d of %d: %d pairs taught", done, len(missing), PAIRS_PER_SHARD)


def _shard(
    photos: PhotoSet, teaching: Teaching, index: int, network: nn.Module, dtype: torch.dtype
) -> dict[str, Tensor]:
    sampling = Sampling(size_px=teaching.crop_px, batch_size=PAIRS_PER_SHARD, seed=teaching.seed)
    pairs = make_pairs(Crops(photos, sampling).batch(index), degradation(teaching.degradation))
    with torch.inference_mode():
        answers = [network(lq[None].to(dtype, memory_format=torch.channels_last)) for lq in pairs.lq]
    return {"lq": _bytes(pairs.lq), "hq": _bytes(pairs.hq), "teacher": _bytes(torch.cat(answers).float())}


def _bytes(image: Tensor) -> Tensor:
    return (image * 255).round().to(torch.uint8).contiguous()


def _facts(teaching: Teaching, teacher: Path, photos: PhotoSet) -> dict[str, object]:
    return {
        "crop_px": teaching.crop_px,
        "degradation": teaching.degradation,
        "seed": teaching.seed,
        "photos": len(photos),
        "teacher_sha256": file_sha256(teacher) if teacher.is_file() else "",
    }


def _check_same(paths: list[Path], facts: Mapping[str, object]) -> None:
    for path in paths:
        if not path.exists():
            continue
        with safe_open(path, framework="pt") as file:
            noted = json.loads((file.metadata() or {}).get("facts", "{}"))
        different = [key for key, value in facts.items() if noted.get(key) != value]
        if different:
            key = different[0]
            raise InputError(
                f"pairs (={path}) were made with {key} {noted.get(key)}, not {facts[key]}; name another folder."
            )
