"""What a request may wish of a job: one form field each, checked before anything is queued."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from sdsr.errors import InputError
from sdsr.photos.formats import BY_NAME, FormatName
from sdsr.photos.limits import Limits
from sdsr.photos.probe import Header, check_output
from sdsr.region import Region
from sdsr.request import ColorFix
from sdsr.restoration.finish import Finish
from sdsr.restoration.passes import MOST_PASSES
from sdsr.trust.text import can_find_text
from sdsr.web.abilities import Abilities, chosen_of
from sdsr.web.asked import request_of
from sdsr.web.lines import JobWishes

MOST_PLACES = 16
Place = Annotated[str, StringConstraints(pattern=r"^(text|\d{1,7},\d{1,7},[1-9]\d{0,6},[1-9]\d{0,6})$")]


class PhotoForm(BaseModel):
    """A photo to keep for a while, so that jobs can be made of it."""

    model_config = ConfigDict(extra="forbid")

    photo: UploadFile = Field(description="JPEG, PNG, WebP, TIFF, AVIF or JPEG XL.")


class JobForm(BaseModel):
    """A job: a photo, or the id of one that is here, and what is wanted of it. x4 if no size is said."""

    model_config = ConfigDict(extra="forbid")

    photo: UploadFile | None = Field(None, description="The photo; or give photo_id.")
    photo_id: str | None = Field(None, max_length=64, description="The id that POST /v1/photos gave.")
    model: str | None = Field(None, max_length=64, description="One of /v1/models.", examples=["d3sr-small"])
    scale: FiniteFloat | None = Field(None, gt=0, le=16, description="How many times longer each side gets.")
    width: int | None = Field(None, ge=1, le=1 << 20, description="Width of the result in pixels.")
    height: int | None = Field(None, ge=1, le=1 << 20, description="Height of the result in pixels.")
    megapixels: FiniteFloat | None = Field(None, gt=0, le=1e4, description="Size of the result.")
    seed: int = Field(
        0, ge=0, lt=1 << 63, description="Of the noise, where a model draws any: the same seed gives the same result."
    )
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps, where the model has a choice.")
    fidelity: FiniteFloat | None = Field(None, ge=0, le=1, description="0 trusts the model, 1 the photo.")
    prompt: str | None = Field(None, max_length=1000, description="Where the model listens to one.")
    color_fix: ColorFix | None = Field(None, description="Where the colors come from; the model's own by default.")
    consistent: bool = Field(False, description="Make the result, reduced to the photo's size, the photo again.")
    protect: list[Place] | None = Field(
        None,
        max_length=MOST_PLACES,
        description="There the photo is enlarged and nothing invented: left,top,width,height in the photo's pixels, or "
        "text, which is looked for; repeatable.",
        examples=[["120,80,200,40"]],
    )
    mean_of: int = Field(
        1, ge=1, le=MOST_PASSES, description="The result is the mean of so many passes, mirrored; each costs as much."
    )
    format: FormatName | None = Field(None, description="Of the result; the photo's own by default.")
    quality: int | None = Field(None, ge=1, le=100, description="Where the format is lossy; 95 by default.")
    region: str | None = Field(
        None,
        pattern=r"^\d{1,7},\d{1,7},[1-9]\d{0,6},[1-9]\d{0,6}$",
        description="Only this part of the result, in its pixels: left,top,width,height.",
        examples=["640,480,512,512"],
    )

    @property
    def asked(self) -> dict[str, object]:
        """What is asked for of a `Request`, by its fields; places to protect as they are typed."""
        names = ("scale", "width", "height", "megapixels", "seed", "steps", "fidelity", "prompt", "color_fix")
        asked: dict[str, object] = {name: value for name in names if (value := getattr(self, name)) not in (None, "")}
        asked |= {"consistent": True} if self.consistent else {}
        asked |= {"protect": list(self.protect)} if self.protect else {}
        return asked | ({"mean_of": self.mean_of} if self.mean_of > 1 else {})

    def wishes(self, header: Header, limits: Limits, model: str, models: Sequence[Abilities]) -> JobWishes:
        """Return what a worker needs to know; raise InputError or LimitError for what can't be done with the photo.

        `models` is what can be wished of each model.
        """
        request = request_of(self.asked)
        width, height = request.size(header.width, header.height)
        places = tuple(place for place in request.protect if isinstance(place, Region))
        Finish(places=places, consistent=request.consistent).check((header.height, header.width), (height, width))
        if "text" in request.protect and not can_find_text():
            raise InputError("the text detector (=rapidocr) is not installed; run: pip install 'sdsr[text]'.")
        format = BY_NAME[self.format] if self.format else header.format
        check_output(header, (height, width), format, limits)
        region = None if self.region is None else [int(number) for number in self.region.split(",")]
        if region is not None:
            _check_region(region, width, height)
        name = self.model or model
        _check_model(self, name, models)
        return {
            "model": name,
            "request": self.asked,
            "format": None if self.format is None else format,
            "quality": self.quality,
            "region": region,
            "size": [width, height],
        }


def _check_region(region: Sequence[int], width: int, height: int) -> None:
    left, top, wide, high = region
    if left + wide > width or top + high > height:
        raise InputError(
            f"region (={wide} x {high} at {left}, {top}) must lie within the result ({width} x {height} px); choose "
            "a smaller one."
        )


def _check_model(form: JobForm, name: str, models: Sequence[Abilities]) -> None:
    model = chosen_of(models, name)
    if form.steps not in (None, model.steps) and not model.choice_of_steps:
        raise InputError(f"steps (={form.steps}) of {name} must be {model.steps}; leave steps out.")
    if form.steps is not None and form.steps > model.most_steps:
        raise InputError(f"steps (={form.steps}) of {name} must be 1 ... {model.most_steps}; take fewer.")
    if form.fidelity is not None and model.fidelity is None:
        raise InputError(f"fidelity (={form.fidelity:g}) means nothing to {name}; leave it out.")
    if not form.prompt or model.free_prompt:
        return
    if model.prompts is None:
        raise InputError(f"prompt (={form.prompt!r:.80}) means nothing to {name}; leave it out.")
    if form.prompt not in model.prompts:
        raise InputError(f"prompt (={form.prompt!r:.80}) of {name} must be one of {model.prompts}; choose one.")
