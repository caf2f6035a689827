"""What the API answers with."""

from pathlib import PurePath
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

from sdsr.web.abilities import Abilities
from sdsr.web.lines import Message, Outcome
from sdsr.web.live import Live
from sdsr.web.problems import ProblemDetails
from sdsr.web.store import JobRow, PhotoRow

_MOST_NAME = 120


class PhotoView(BaseModel):
    """A photo that was uploaded."""

    id: str = Field(examples=["Vn0cX2rE6kQm8sYw1uTf3pLa9dHb5gJz"])
    name: str = Field(examples=["beach.jpg"])
    format: str = Field(examples=["JPEG"])
    width: int = Field(examples=[1200])
    height: int = Field(examples=[900])
    bits: int = Field(examples=[8])
    bytes: int = Field(examples=[310000])
    created: float = Field(description="Seconds since 1970.")
    proxy_url: str = Field(description="The photo at screen size.")
    thumbnail_url: str = Field(description="The photo in 320 px.")

    @classmethod
    def of(cls, photo: PhotoRow) -> "PhotoView":
        facts = {name: photo.header[name] for name in ("format", "width", "height", "bits")}
        at = f"/v1/photos/{photo.id}"
        return cls(
            id=photo.id,
            name=photo.name,
            bytes=photo.bytes,
            created=photo.created,
            proxy_url=f"{at}/proxy",
            thumbnail_url=f"{at}/thumbnail",
            **facts,
        )


class PhotoList(BaseModel):
    """The client's photos, the newest first."""

    photos: list[PhotoView]


class PreviewView(BaseModel):
    """What can be shown of a job that runs: a part of the result, [left, top, width, height] in its pixels."""

    url: str
    region: list[int]
    final: bool


class ResultView(BaseModel):
    """A finished result, and what it was made with."""

    url: str = Field(description="The real file, with its metadata.")
    name: str = Field(examples=["beach_restored.jpg"])
    format: str
    bytes: int
    width: int
    height: int
    seconds: float
    model: str
    steps: int
    seed: int
    chosen: str | None = Field(description="What the photo decided, and why.")
    consistency_db: float | None = Field(description="PSNR of the result, brought back to the photo's size, with it.")
    contradicts: bool = Field(description="Whether it contradicts the photo where an eye sees it.")
    proxy_url: str = Field(description="The result at screen size.")
    before_url: str = Field(description="The photo at the same size.")
    map_url: str | None = Field(description="Where the result contradicts the photo: red on nothing.")
    tiles_url: str = Field(description="Add /LEVEL/COLUMN/ROW: 512 px tiles, reduced 2 ** LEVEL times; and ?of=photo.")


class JobView(BaseModel):
    """A job."""

    id: str
    state: Literal["queued", "running", "done", "failed", "canceled"]
    kind: Literal["full", "crop"]
    photo: PhotoView
    model: str
    width: int = Field(description="Of the whole result.")
    height: int
    region: list[int] | None = Field(description="The part of it that is made, [left, top, width, height].")
    wishes: dict[str, object] = Field(description="What was asked for.")
    created: float = Field(description="Seconds since 1970, as the others.")
    started: float | None
    ended: float | None
    position: int | None = Field(description="How many jobs begin before it.")
    share: float = Field(description="How much of the work is done, 0 ... 1.")
    step: int
    steps: int | None
    windows: int | None
    previews: list[PreviewView]
    result: ResultView | None
    problem: ProblemDetails | None

    @classmethod
    def of(cls, job: JobRow, photo: PhotoRow, live: Live | None, position: int | None) -> "JobView":
        wishes = job.wishes
        written = {"format": wishes["format"], "quality": wishes["quality"]}
        asked = wishes["request"] | {name: value for name, value in written.items() if value is not None}
        live = live or Live(share=float(job.state == "done"))
        return cls(
            id=job.id,
            state=job.state,
            kind=job.kind,
            photo=PhotoView.of(photo),
            model=wishes["model"],
            width=wishes["size"][0],
            height=wishes["size"][1],
            region=wishes["region"],
            wishes=asked,
            created=job.created,
            started=job.started,
            ended=job.ended,
            position=position,
            share=live.share,
            step=live.step,
            steps=live.steps,
            windows=live.windows,
            previews=[preview_view(job.id, each) for each in live.previews],
            result=None if job.outcome is None else _result(job, photo, job.outcome),
            problem=None if job.problem is None else ProblemDetails(**job.problem),
        )


class JobList(BaseModel):
    """The client's jobs, the newest first."""

    jobs: list[JobView]


class ModelView(Abilities):
    """A model, and what can be wished of it; one is chosen at first."""

    default: bool


class ModelList(BaseModel):
    """`ready`: whether one is loaded; jobs are taken before, and wait."""

    ready: bool
    models: list[ModelView]
    finds_text: bool = Field(description="Whether text can be protected by itself.")
    max_input_pixels: int
    max_output_pixels: int
    max_file_bytes: int


def preview_view(job: str, preview: Message) -> PreviewView:
    """Return what is told of a preview."""
    url = f"/v1/jobs/{job}/previews/{preview['number']}"
    return PreviewView(url=url, region=list(preview["region"]), final=preview["final"])


def download_name(photo: PhotoRow, job: JobRow) -> str:
    """Return what the result's file is called where it is saved."""
    assert job.outcome is not None, "it is done"
    suffix = PurePath(job.outcome["file"]).suffix
    part = "_crop" if job.kind == "crop" else ""
    return f"{PurePath(photo.name).stem or 'photo'}_restored{part}{suffix}"


def safe_name(name: str | None) -> str:
    """Return a file's name as it may be shown and saved: no path, no control characters, not too long."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(each for each in last if each.isprintable() and each not in '<>:"|?*').strip(". ")
    stem, dot, suffix = shown.rpartition(".")
    if not stem:
        return shown[:_MOST_NAME] or "photo"
    return f"{stem[: _MOST_NAME - len(suffix) - 1]}{dot}{suffix[:20]}"


def disposition(name: str) -> str:
    """Return the Content-Disposition that saves a file under a name."""
    plain = name.encode("ascii", "replace").decode().replace('"', "_").replace("\\", "_").replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _result(job: JobRow, photo: PhotoRow, outcome: Outcome) -> ResultView:
    at = f"/v1/jobs/{job.id}"
    return ResultView(
        url=f"{at}/result",
        name=download_name(photo, job),
        width=outcome["size"][0],
        height=outcome["size"][1],
        proxy_url=f"{at}/proxy",
        before_url=f"{at}/proxy?of=photo",
        map_url=None if outcome["consistency_db"] is None else f"{at}/map",
        tiles_url=f"{at}/tiles",
        format=outcome["format"],
        bytes=outcome["bytes"],
        seconds=outcome["seconds"],
        model=outcome["model"],
        steps=outcome["steps"],
        seed=outcome["seed"],
        chosen=outcome["chosen"],
        consistency_db=outcome["consistency_db"],
        contradicts=outcome["contradicts"],
    )
