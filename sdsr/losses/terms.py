"""Loss terms: pure functions of one step record, and their weighted sum.

What a term is told besides comes before the record, to be given by `functools.partial`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Generator, Tensor
from torch.nn import functional as F

from sdsr.data.degradation import LowImage
from sdsr.losses.filters import differences, gaussian_blur, high_pass, local_energies
from sdsr.tensors import Float, Image, Latent, Plane, Region, Time

Scalar = Float[Tensor, ""]
Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What one training step produced, as far as its objective knows it; None where it doesn't.

    Terms and discriminators are told nothing else. `image` decodes `clean` with gradients. It is a function, because
    decoding costs and not all look at pixels; wrap it in `functools.cache` so that they share one decoding.
    """

    clean: Latent
    """The restored latent, with gradients."""
    hq: Latent
    """Its target."""
    image: Callable[[], Image] | None = None
    hq_image: Image | None = None
    lq: LowImage | None = None
    teacher_image: Image | None = None
    """What a teacher of pixels makes of the same LQ photo."""
    faithful_image: Image | None = None
    """What a decoder's faithful end paints from the same features, which it does not change."""
    t: Time | None = None
    """The time at which `clean` was estimated, or the one that it is noised to."""
    noise: Latent | None = None
    """What was in the noisy latent at that time."""
    encoded: object = None
    """What the network was told of the LQ photo, for terms that ask a network again."""
    window: Region | None = None
    """The part of the pictures that networks of features look at; None for all of it."""
    rng: Generator | None = None
    """What terms draw from, after the step itself did."""
    turn: int = 0
    """Which of several networks looks at this step."""

    def images(self) -> tuple[Image, Image]:
        """The restored picture and its target; only an objective that supplies both may use terms on pixels."""
        assert self.image is not None, "this objective records no image, so no term on pixels can be used with it"
        assert self.hq_image is not None, "this objective records no target image, so no term on pixels can be used"
        return self.image(), self.hq_image

    def in_window(self) -> "StepRecord":
        """The same step with only that part of its pictures which networks of features look at."""
        if self.window is None:
            return self
        inner = self.window.slices
        (image, hq_image) = self.images()
        others = {"teacher_image": self.teacher_image, "faithful_image": self.faithful_image}
        parts = {name: None if picture is None else picture[inner] for name, picture in others.items()}
        part = image[inner]
        return replace(self, image=lambda: part, hq_image=hq_image[inner], window=None, **parts)

    def detached(self) -> "StepRecord":
        """The same step without gradients, for a discriminator to learn from."""
        if self.image is None:
            return replace(self, clean=self.clean.detach())
        decode = self.image
        return replace(self, clean=self.clean.detach(), image=lambda: decode().detach())


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A named, weighted function of the step record."""

    name: str
    weight: float
    function: Callable[[StepRecord], Scalar]


def weighted_sum(terms: Sequence[Term], record: StepRecord) -> tuple[Scalar, dict[str, Tensor]]:
    """The weighted total, with gradients, and each term's own value before its weight, without.

    A term of weight zero is measured, not minimised. Values stay on their device; who logs them reads them.
    """
    total = record.clean.new_zeros(())
    values: dict[str, Tensor] = {}
    for term in terms:
        assert term.name not in values, f"two terms are named {term.name}"
        value = term.function(record)
        values[term.name] = value.detach()
        if term.weight:
            total = total + term.weight * value
    return total, values


def against_teacher(term: Callable[[StepRecord], Scalar], record: StepRecord) -> Scalar:
    """The same term with the teacher's picture in the HQ photo's place."""
    assert record.teacher_image is not None, "this objective records no teacher's picture"
    return term(replace(record, hq_image=record.teacher_image))


def of_faithful(term: Callable[[StepRecord], Scalar], record: StepRecord) -> Scalar:
    """The same term on what the faithful end painted."""
    image = record.faithful_image
    assert image is not None, "this objective trains no faithful end beside the detailed one"
    return term(replace(record, image=lambda: image))


def in_window(term: Callable[[StepRecord], Scalar], record: StepRecord) -> Scalar:
    """The same term on that part of the pictures which networks of features look at."""
    return term(record.in_window())


def in_turn(terms: Sequence[Callable[[StepRecord], Scalar]], record: StepRecord) -> Scalar:
    """That of several terms whose turn it is."""
    return terms[record.turn](record)


def latent_l2(record: StepRecord) -> Scalar:
    """Mean squared error of the latent."""
    return F.mse_loss(record.clean, record.hq)


def image_l1(record: StepRecord) -> Scalar:
    """Mean absolute error of the image."""
    return F.l1_loss(*record.images())


def image_l2(record: StepRecord) -> Scalar:
    """Mean squared error of the image."""
    return F.mse_loss(*record.images())


def gradient_l1(record: StepRecord) -> Scalar:
    """Mean absolute error of the image's finite differences, rows and columns alike."""
    image, hq_image = record.images()
    across, down = (F.l1_loss(x, y) for x, y in zip(differences(image), differences(hq_image), strict=True))
    return (across + down) / 2


def drift(cell_px: int, record: StepRecord) -> Scalar:
    """Mean absolute error of the image averaged over cells: what fine detail leaves alone.

    A teacher of pixels changes the brightness and color of whole places, and who learns from it does so, too.
    """
    image, hq_image = record.images()
    return F.avg_pool2d((image - hq_image).float(), cell_px).abs().mean()


def blotches(cell_px: int, record: StepRecord) -> Scalar:
    """Mean absolute error of Cb and Cr (BT.601, full range) averaged over cells.

    The eye sees false color that is some pixels wide; compression leaves much of it, and lenses leave fringes a pixel
    wide at edges.
    """
    image, hq_image = record.images()
    red, green, blue = F.avg_pool2d((image - hq_image).float(), cell_px).unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return ((blue - luma).abs().mean() / 1.772 + (red - luma).abs().mean() / 1.402) / 2


def unevenness(period_px: int, record: StepRecord) -> Scalar:
    """How much more the image bends at some phases of a period than at others, beyond what its target does.

    A decoder from a coarse latent is sharper in the middle of its cells than between them, which shows as a grid; here
    the mean |second difference| at each phase, over rows and over columns, is compared with the target's.
    """
    image, hq_image = record.images()
    errors = [F.mse_loss(_phases(image, period_px, axis), _phases(hq_image, period_px, axis)) for axis in (-2, -1)]
    return (errors[0] + errors[1]) / 2


def lattice(period_px: int, cells: int, record: StepRecord) -> Scalar:
    """Mean absolute error of the pattern that neighboring cells have in common.

    A generator of coarse latents can feign texture by one pattern in every cell, which shows as a mesh. Detail (what a
    Gaussian of 3 px removes) is averaged over `cells` x `cells` cells, phase by phase: true texture averages out, a
    mesh doesn't.
    """
    pattern, wanted = (
        F.avg_pool2d(F.pixel_unshuffle(high_pass(image, 3.0), period_px), cells, stride=cells // 2)
        for image in record.images()
    )
    return F.l1_loss(pattern, wanted)


def _phases(image: Image, period_px: int, axis: int) -> Float[Tensor, " phases"]:
    """Mean |second difference| along an axis at each phase of the period, each period divided by its own mean first.

    So a faint grid in the sky counts as much as one in the grass.
    """
    bends = image.diff(n=2, dim=axis).abs().movedim(axis, -1).mean((1, 2))
    runs = bends[:, : bends.shape[1] // period_px * period_px].unflatten(1, (-1, period_px))
    return (runs / (runs.mean(-1, keepdim=True) + 1e-4)).mean((0, 1))


def excess_detail(allowed: float, record: StepRecord) -> Scalar:
    """How much stronger fine detail is, place by place, than `allowed` times the target's and one gray level.

    Ripples beside edges, weave and grain lie where the target is smooth; detail that it has too, and less of it, cost
    nothing, wherever its lines run.
    """
    strength, wanted = (_detail_strength(image) for image in record.images())
    return F.relu(strength - allowed * wanted - 1 / 255).mean()


def _detail_strength(image: Image) -> Plane:
    """The root mean square of what a Gaussian of 1.5 px removes of the channel mean, under a Gaussian of 2 px."""
    detail = high_pass(image.float().mean(1, keepdim=True), 1.5)
    return (gaussian_blur(detail.square(), 2.0) + 1e-7).sqrt()


def local_energy_l1(record: StepRecord) -> Scalar:
    """Mean absolute error of the image's local energies.

    Where a line can't be placed to the pixel, the L1 of pixels asks for a blurred one. This asks for a line that is as
    strong, fine and turned as the target's, wherever it lies within some pixels.
    """
    image, hq_image = record.images()
    return F.l1_loss(local_energies(image), local_energies(hq_image))


def artifact_l1(record: StepRecord) -> Scalar:
    """Mean absolute error of the image, weighed by how unruly the error is around each pixel (LDL, arXiv:2203.09195).

    The weight is the variance of the error in 7x7 pixels, times the fifth root of its variance in the whole picture.
    Deviation: the paper spares pixels where an averaged model is further off; a record knows of no second model.
    """
    image, hq_image = record.images()
    error = (image - hq_image).float().abs().sum(1, keepdim=True)
    return (_unruliness(error.detach()) * error).mean() / image.shape[1]


def _unruliness(error: Plane) -> Plane:
    padded = F.pad(error, (3, 3, 3, 3), "reflect")
    local = F.avg_pool2d(padded.square(), 7, 1) - F.avg_pool2d(padded, 7, 1).square()
    return local.clamp_min(0) * error.var((-3, -2, -1), keepdim=True).pow(0.2)


def perceptual(distance: Distance, record: StepRecord) -> Scalar:
    """Mean of a per-sample distance of images (LPIPS, DISTS, EA-DISTS, or the small network's)."""
    return distance(*record.images()).mean()


def latent_perceptual(distance: Distance, record: StepRecord) -> Scalar:
    """Mean of a per-sample distance of latents (latent LPIPS of InvSR, arXiv:2412.09013)."""
    return distance(record.clean, record.hq).mean()
