"""What is done to a restored picture in the end, because its request asks for it: protection, then projection."""

from dataclasses import dataclass

from sdsr.errors import InputError
from sdsr.images.reducing import check_kernel_width, estimate_width
from sdsr.photos.photo import Photo
from sdsr.photos.remarks import Remarks
from sdsr.region import Region
from sdsr.restoration.places import check_places, place_name

log = Remarks(__name__)

NOTICEABLE = 0.5 / 255
"""A mean difference that is told of where projection leaves more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """`places`, in the photo's pixels, are the photo itself, enlarged; the whole is made `consistent` with the photo.

    The photo is taken for a reduction by a kernel of `kernel_width` (of bicubic's); None estimates it. `text_places`
    says how many places of text were found; None where it was not asked for.
    Projection comes last, so that protected places, too, reduce to the photo; what it adds there is the photo's.
    """

    places: tuple[Region, ...] = ()
    consistent: bool = False
    kernel_width: float | int | None = None
    text_places: int | None = None

    @property
    def note(self) -> str | None:
        """What became of text that was to be protected, in words; None where it was not asked for."""
        match self.text_places:
            case None:
                return None
            case 0:
                return "no text found, so none is protected"
            case 1:
                return "text found in 1 place and protected"
        return f"text found in {self.text_places} places and protected"

    def warn(self) -> None:
        """Log a warning where text was to be protected and none was found."""
        if self.text_places == 0:
            log.warning(
                "no text was found, so none is protected: small letters may be made up. If there are any, name their "
                "places (--protect LEFT,TOP,WIDTH,HEIGHT)."
            )

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self.consistent or bool(self.places)

    def check(self, photo: tuple[int, int], size: tuple[int, int]) -> None:
        """Raise InputError where it can't be done to a result of `size` of a photo of that size (height, width)."""
        check_kernel_width(self.kernel_width)
        check_places(self.places, photo)
        if self.consistent and (size[0] < photo[0] or size[1] < photo[1]):
            raise InputError(
                f"result (={size[1]} x {size[0]} px) must be at least as large as its photo ({photo[1]} x {photo[0]} "
                "px) to be made consistent with it; choose a larger one, or leave --consistent out."
            )

    def facts(self) -> dict[str, str]:
        """What a label says of it."""
        kernel = "kernel estimated" if self.kernel_width is None else f"bicubic x{self.kernel_width:g}"
        facts = {"consistent": kernel} if self.consistent else {}
        return facts | ({"protected": " ".join(map(place_name, self.places))} if self.places else {})

    def apply(self, result: Photo, photo: Photo) -> Photo:
        """Return the result, finished; itself where nothing is to do. A scaled copy that can't be met is told of."""
        from sdsr.restoration.projection import project
        from sdsr.restoration.protection import protect

        result = protect(result, photo, self.places)
        if not self.consistent:
            return result
        width = estimate_width(result, photo) if self.kernel_width is None else self.kernel_width
        found = project(result, photo, kernel_width=width)
        if found.exact and found.error > NOTICEABLE:
            log.warning(
                "the result, reduced, still differs from its photo by %.2f of 255 on average (0.25 were wanted): "
                "it would need values below black or above white.",
                found.error * 255,
            )
        return found.result


NO_FINISH = Finish()
