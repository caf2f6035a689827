"""What a report of one restored photo holds: two pictures, maps in cells, figures, settings, and the model's card."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.restoration.places import named_places, place_name
from sdsr.trust.consistency import LOW_PSNR_DB, Consistency, measure_consistency
from sdsr.trust.expected_error import Clues
from sdsr.trust.mask import unmasked
from sdsr.trust.stored import Trust
from sdsr.trust.text import can_find_text, find_text

FIDELITY_NOTE = (
    "A generative model fills in what the photo does not hold. What it fills in is plausible, not known: letters, "
    "faces, plates and textures can come out clear and wrong. Nothing below tells what was really there."
)
CONSISTENCY_NOTE = (
    "Consistency compares the result, reduced to the photo's size, with the photo; by a kernel so many times as wide "
    "as bicubic's, which is 1 for a scaled copy and more the more the photo is blurred. A low value, or a bright place "
    "of its map, is a contradiction of what the photo shows. A high value is no proof: any invention finer than the "
    "photo's pixels passes."
)
PASSES_NOTE = (
    "Disagreement is how much {count} passes over the mirrored photo differ. Where they differ, the photo does not "
    "settle what is there; where they agree, the model may still be wrong, in the same way each time."
)
MASK_NOTE = (
    "The mask shows where, on photos like those it was calibrated on ({source}), the mean error stays below a value "
    "with a stated confidence. It is an average over a part of the picture, not a promise for any place of it, and "
    "says nothing of photos of another kind."
)
TEXT_NOTE = (
    "Places of text are left, top, width and height in the photo's pixels. Some are overlooked, and some are none."
)
NO_TEXT_NOTE = "No text was found in the photo. The detector overlooks some: read small letters in the photo itself."

LOW_WARNING = (
    "The result contradicts its photo (consistency {psnr:.1f} dB, below {least:g}): compare colors and shapes with "
    "care."
)
TEXT_WARNING = (
    "Text was found ({count} x): letters and numbers there look right and may be others, and no promise tells of a "
    "single place. Read them in the photo, or restore with --protect text."
)
NOT_LOOKED_WARNING = (
    "Text was not looked for: letters, numbers and signs, small ones above all, may have been made up or smeared, and "
    "nothing on this page would show it. To have text looked for, run pip install 'sdsr[text]' and make the report "
    "again."
)
KIND_WARNING = (
    "What is promised holds for photos of a camera. For a print, a page of text, a screenshot or a drawing, or a part "
    "that shows one, nothing is promised: fine lines and letters can be gone where all passes agree."
)
STANDING_WARNINGS = (NOT_LOOKED_WARNING, KIND_WARNING)
"""Those that say nothing of the one photo."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """What several passes over a photo showed: their number, and their spread at the result's size, 0 ... 0.5."""

    passes: int
    spread: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """In a share of the result the mean error, in levels of 255, is below a value with a confidence."""

    mean_error_below: float
    confidence: float
    unmasked_share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """A photo, its result, and what is known of how far to believe it.

    `settings` are those that the label tells of. Maps are in 0 ... 1. Where no passes were `examined` there is neither
    disagreement nor mask; without `trust` there is no mask, and `no_mask` says why. `text` are places in the photo's
    pixels, None where the detector is not installed.
    """

    name: str
    photo: Photo
    result: Photo
    settings: Mapping[str, str]
    card: str
    consistency: Consistency
    examined: Examined | None = None
    clues: Clues | None = None
    expected: np.ndarray | None = None
    trust: Trust | None = None
    no_mask: str | None = None
    text: tuple[Region, ...] | None = None

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before anything else."""
        psnr = self.consistency.psnr_db
        told = [LOW_WARNING.format(psnr=psnr, least=LOW_PSNR_DB)] if self.consistency.low else []
        if self.examined is not None and self.no_mask is not None:
            told.append(f"No mask is shown: {self.no_mask}.")
        if self.text is None:
            told.append(NOT_LOOKED_WARNING)
        elif made := [place for place in self.text if not self._protects(place)]:
            told.append(TEXT_WARNING.format(count=len(made)))
        if self.trust is not None:
            told.append(KIND_WARNING)
        return told

    def promises(self) -> list[Promise]:
        """What is promised of this result, in the order of its calibrations."""
        if self.expected is None or self.trust is None:
            return []
        return [
            Promise(
                mean_error_below=round(each.error * 255, 2),
                confidence=each.confidence,
                unmasked_share=round(float(unmasked(self.expected, each.threshold).mean()), 3),
            )
            for each in self.trust.calibrations
        ]

    def figures(self) -> dict[str, object]:
        """Return all figures, ready for JSON; what is infinite is None."""
        psnr = self.consistency.psnr_db
        found: dict[str, object] = {
            "photo": {"width": self.photo.size[1], "height": self.photo.size[0]},
            "result": {"width": self.result.size[1], "height": self.result.size[0]},
            "settings": dict(self.settings),
            "consistency": {
                "psnr_db": round(psnr, 2) if math.isfinite(psnr) else None,
                "mean_difference": round(float(self.consistency.map.mean()) * 255, 2),
                "kernel_width": self.consistency.kernel_width,
                "low": self.consistency.low,
            },
        }
        found["text"] = "not looked for" if self.text is None else [place_name(place) for place in self.text]
        if self.examined is not None:
            mean = round(float(self.examined.spread.mean()) * 255, 2)
            found["disagreement"] = {"passes": self.examined.passes, "mean": mean}
        if self.no_mask is not None:
            found["no_mask"] = self.no_mask
        if self.trust is not None:
            found["promises"] = [asdict(each) for each in self.promises()]
            found["calibrated_on"] = self.trust.source
            found["checked"] = list(self.trust.checked)
        return found

    def notes(self) -> list[str]:
        """What the figures tell and don't tell."""
        notes = [FIDELITY_NOTE, CONSISTENCY_NOTE]
        if self.examined is not None:
            notes.append(PASSES_NOTE.format(count=self.examined.passes))
        if self.expected is not None and self.trust is not None:
            notes.append(MASK_NOTE.format(source=self.trust.source))
        if self.text is not None:
            notes.append(TEXT_NOTE if self.text else NO_TEXT_NOTE)
        return notes

    def _protects(self, place: Region) -> bool:
        """Whether the label tells of a protected place that covers this one."""
        return any(
            each.top <= place.top
            and each.left <= place.left
            and each.bottom >= place.bottom
            and each.right >= place.right
            for each in named_places(self.settings.get("protected", ""))
        )


def report_on(
    name: str,
    photo: Photo,
    result: Photo,
    *,
    settings: Mapping[str, str],
    card: str = "",
    kernel_width: float | int | None = None,
    examined: Examined | None = None,
    trust: Trust | None = None,
    no_mask: str | None = None,
) -> Report:
    """Return the report of a result; what a model was calibrated for counts for as many passes as were examined.

    Without `trust`, `no_mask` says why there is none.

    `kernel_width` is that of the photo's reduction, estimated unless it is stated; calibrations are by bicubic's own.
    """
    consistency = measure_consistency(result, photo, kernel_width=kernel_width)
    clues = None if examined is None else Clues.of(result, examined.spread, measure_consistency(result, photo))
    if trust is not None and (examined is None or trust.passes != examined.passes):
        no_mask = passes_needed(trust.passes, examined)
        trust = None
    return Report(
        name=name,
        photo=photo,
        result=result,
        settings=settings,
        card=card,
        consistency=consistency,
        examined=examined,
        clues=clues,
        expected=None if trust is None or clues is None else trust.expected.map(clues),
        trust=trust,
        no_mask=no_mask,
        text=find_text(photo) if can_find_text() else None,
    )


def passes_needed(count: int, examined: Examined | None) -> str:
    """Return why there is no mask where other passes were examined than a calibration counts for."""
    were = "" if examined is None else f", and there were {examined.passes}"
    return f"it takes the {count} passes that the model was calibrated with{were}; add --passes {count}"
