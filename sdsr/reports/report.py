"""What a report of one restored photo holds: two pictures, maps in cells, figures, settings, and the model's card."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.restoration.places import place_name
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
    "Text was found ({count} x; left, top, width, height in the photo). A model draws letters that look right "
    "and may be others: read them in the photo, or restore with --protect text."
)
NO_TEXT_NOTE = "Text was not looked for: its detector is not installed (pip install 'sdsr[text]')."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """What several passes over a photo showed: their number, and their spread at the result's size, 0 ... 0.5."""

    passes: int
    spread: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """A photo, its result, and what is known of how far to believe it.

    `settings` are those that the label tells of. Maps are in 0 ... 1. Where no passes were `examined` there is neither
    disagreement nor mask; without `trust` there is no mask. `text` are places in the photo's pixels, None where the
    detector is not installed.
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
    text: tuple[Region, ...] | None = None
    warnings: tuple[str, ...] = ()

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
        if self.expected is not None and self.trust is not None:
            found["promises"] = [
                {
                    "mean_error_below": round(each.error * 255, 2),
                    "confidence": each.confidence,
                    "unmasked_share": round(float(unmasked(self.expected, each.threshold).mean()), 3),
                }
                for each in self.trust.calibrations
            ]
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
        if self.text is None:
            notes.append(NO_TEXT_NOTE)
        elif self.text:
            notes.append(TEXT_NOTE.format(count=len(self.text)))
        return notes


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
    warnings: tuple[str, ...] = (),
) -> Report:
    """Return the report of a result; what a model was calibrated for counts for as many passes as were examined.

    `kernel_width` is that of the photo's reduction, estimated unless it is stated; calibrations are by bicubic's own.
    """
    consistency = measure_consistency(result, photo, kernel_width=kernel_width)
    if consistency.low:
        low = (
            f"The result contradicts its photo (consistency {consistency.psnr_db:.1f} dB, below {LOW_PSNR_DB:g}): "
            "compare colors and shapes with care."
        )
        warnings = (low, *warnings)
    clues = None if examined is None else Clues.of(result, examined.spread, measure_consistency(result, photo))
    if clues is None or trust is None or examined is None or trust.passes != examined.passes:
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
        text=find_text(photo) if can_find_text() else None,
        warnings=warnings,
    )
