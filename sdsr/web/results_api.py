"""Results: the real file, pictures of it for the eye, all of them as a zip."""

import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Annotated, Literal, cast

from fastapi import APIRouter, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse

from sdsr.errors import InputError
from sdsr.region import Region
from sdsr.web.photos_api import FOREVER
from sdsr.web.pictures import BEFORE, MAP, MOST_LEVEL, PROXY, enlarged_tile, kept_pixels, photo_box, tile
from sdsr.web.problems import RESPONSES, missing
from sdsr.web.service import Client, Here, Service
from sdsr.web.store import JobRow, PhotoRow
from sdsr.web.views import disposition, download_name

_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "JXL": "image/jxl",
}
_CHUNK = 1 << 20
Of = Annotated[Literal["result", "photo"], Query(description="The result, or the photo enlarged to its size.")]
Level = Annotated[int, Path(ge=0, le=MOST_LEVEL)]
Place = Annotated[int, Path(ge=0, le=1 << 20)]
router = APIRouter(prefix="/v1", tags=["results"], responses=RESPONSES)


@router.get("/jobs/{id}/result", response_class=FileResponse)
async def get_result(id: str, here: Here) -> Response:
    """Return the result's file, in the photo's format, with its metadata and the label that a model made it."""
    job = here.finished(id)
    assert job.outcome is not None, "it is done"
    name = download_name(here.photo(job.photo), job)
    return FileResponse(
        _file(here, job),
        media_type=_TYPES[job.outcome["format"]],
        headers={"Content-Disposition": disposition(name), "Cache-Control": FOREVER},
    )


@router.get("/jobs/{id}/proxy", response_class=FileResponse)
async def get_proxy(id: str, here: Here, of: Of = "result") -> Response:
    """Return the result, or its photo, at screen size, as WebP."""
    here.finished(id)
    return _webp(here, id, PROXY if of == "result" else BEFORE)


@router.get("/jobs/{id}/map", response_class=FileResponse)
async def get_map(id: str, here: Here) -> Response:
    """Return where the result contradicts its photo, as WebP: red, transparent where it doesn't."""
    here.finished(id)
    return _webp(here, id, MAP)


@router.get("/jobs/{id}/previews/{number}", response_class=FileResponse)
async def get_preview(id: str, number: Place, here: Here) -> Response:
    """Return what an event `preview` told of, as WebP."""
    here.job(id)
    return _webp(here, id, f"preview-{number}.webp")


@router.get("/jobs/{id}/tiles/{level}/{column}/{row}", response_class=Response)
async def get_tile(id: str, level: Level, column: Place, row: Place, here: Here, of: Of = "result") -> Response:
    """Return a tile of 512 px, as PNG: of the result reduced 2 ** level times, or of the photo enlarged (level 0)."""
    job = here.finished(id)
    photo = here.photo(job.photo)
    data = await run_in_threadpool(_tile, here, job, photo, of == "photo", (level, column, row))
    return Response(data, media_type="image/png", headers={"Cache-Control": FOREVER})


@router.get("/results.zip", response_class=StreamingResponse)
async def get_zip(
    here: Here, client: Client, job: Annotated[list[str] | None, Query(max_length=500)] = None
) -> Response:
    """Return all results of the client that are done, or those of some jobs, as one zip."""
    rows = [here.finished(id) for id in job] if job else here.store.jobs(client)
    rows = [row for row in rows if row.outcome is not None and (job or row.kind == "full")]
    if not rows:
        raise missing("a finished result")
    taken: set[str] = set()
    files = {_free(download_name(here.photo(row.photo), row), taken): _file(here, row) for row in rows}
    return StreamingResponse(
        _zipped(files),
        media_type="application/zip",
        headers={"Content-Disposition": disposition("restored.zip")},
    )


def _file(here: Service, job: JobRow) -> pathlib.Path:
    assert job.outcome is not None, "it is done"
    return here.files.job(job.id) / job.outcome["file"]


def _webp(here: Service, id: str, name: str) -> Response:
    path = here.files.job(id) / name
    if not path.is_file():
        raise missing("the picture")
    return FileResponse(path, media_type="image/webp", headers={"Cache-Control": FOREVER})


def _tile(here: Service, job: JobRow, photo: PhotoRow, before: bool, place: tuple[int, int, int]) -> bytes:
    assert job.outcome is not None, "it is done"
    level, column, row = place
    if not before:
        return tile(kept_pixels(here.files.job(job.id)), level, column, row)
    if level:
        raise InputError(f"level (={level}) of the photo must be 0; take its proxy.")
    region = Region.of_box(*job.wishes["region"]) if job.wishes["region"] else None
    width, height = job.wishes["size"]
    box = photo_box(region, (photo.header["height"], photo.header["width"]), (height, width))
    made = job.outcome["size"]
    return enlarged_tile(kept_pixels(here.files.photo(photo.id)), box, (made[0], made[1]), column, row)


class _Outlet:
    """What a zip is written to: it can't seek, and holds only what wasn't taken yet."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = bytes(self.data)
        self.data.clear()
        return taken


def _zipped(files: Mapping[str, pathlib.Path]) -> Iterator[bytes]:
    """Yield a zip of files by name as it is made; pictures are compressed already, so they are stored."""
    outlet = _Outlet()
    with zipfile.ZipFile(cast("IO[bytes]", outlet), "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            with path.open("rb") as file, archive.open(name, "w", force_zip64=True) as entry:
                while chunk := file.read(_CHUNK):
                    entry.write(chunk)
                    yield outlet.take()
    yield outlet.take()


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number where it is taken."""
    stem, dot, suffix = name.rpartition(".")
    number = 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem} ({number}){dot}{suffix}"
    taken.add(name.casefold())
    return name
