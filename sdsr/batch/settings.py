"""What is the same for all photos of a batch, and the sha256 that it is known by."""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sdsr import __version__
from sdsr.batch.model import Model
from sdsr.photos.credentials import Seal, Signer
from sdsr.photos.formats import Format
from sdsr.photos.limits import Limits
from sdsr.request import Request

if TYPE_CHECKING:
    from sdsr.photos.photo import Photo

OnExists = Literal["skip", "verify", "replace"]
WITHOUT_EFFECT = ("format", "on_exists", "labeled", "limits", "passes")
"""Settings that change no result of a given name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is the same for all photos of a batch; `format` and `quality` None keep each photo's own.

    A `signer` signs the results. So many `passes` are made to see where they disagree; the first alone is the result,
    unless the request's is a mean.

    Where a result is there, it is left if it is finished, and made again if it is ours, of another photo or by other
    settings; what isn't ours is never touched. "verify" reads photo and result to know, and makes damaged ones again;
    "replace" makes again whatever isn't finished by this very version.

    Photos that are found in a folder and carry the label of a restoration are passed over, unless `labeled` ones are
    wanted; they are results of earlier runs.
    """

    request: Request = field(default_factory=Request)
    format: Format | None = None
    quality: int | None = None
    on_exists: OnExists = "skip"
    labeled: bool = False
    limits: Limits = field(default_factory=Limits)
    passes: int = 1
    signer: Signer | None = None

    @property
    def restorations(self) -> int:
        """How often each photo is restored, for its passes or for a result that is the mean of some."""
        return max(self.passes, self.request.mean_of)

    @property
    def overwrite(self) -> bool:
        """Whether files may be replaced that are there and aren't known as results."""
        return self.on_exists == "replace"

    def seal(self, photo: "Photo", title: str, source: "Path | bytes", model: str) -> Seal | None:
        """Return what is signed of a result that a model made of a file; None where nobody signs."""
        if self.signer is None:
            return None
        from sdsr.photos.label import source_type

        return Seal(
            signer=self.signer,
            software=f"sdsr {model}",
            version=__version__,
            title=title,
            parent=source,
            source_type=source_type(photo.traits.xmp),
        )


def settings_sha256(model: Model, settings: Settings) -> str:
    """Return the sha256 of all that a result depends on besides photo, name and version: weights, settings."""
    request = asdict(settings.request)
    if all(request[name] is None for name in ("scale", "width", "height", "megapixels")):
        request["scale"] = 4.0
    for name in ("scale", "megapixels", "fidelity"):
        request[name] = None if request[name] is None else float(request[name])  # 2 is 2.0
    del request["memory_bytes"]  # bounds the windows, not what is wanted
    if not request["consistent"]:
        del request["kernel_width"]
    signed = settings.signer and hashlib.sha256(settings.signer.certificate).hexdigest()
    wanted = asdict(replace(settings, signer=None)) | {"request": request, "signer": signed}
    for name in WITHOUT_EFFECT:
        del wanted[name]
    return hashlib.sha256(repr((model.sha256, wanted)).encode(errors="surrogateescape")).hexdigest()
