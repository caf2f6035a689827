"""Photos: uploaded once, so that regions and variants need no second upload."""

from typing import Annotated

from fastapi import APIRouter, File, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from sdsr.errors import OutputError
from sdsr.web.files import remove
from sdsr.web.keeping import forget_photo
from sdsr.web.pictures import PROXY, THUMBNAIL
from sdsr.web.problems import RESPONSES, Problem
from sdsr.web.reader import SOURCE
from sdsr.web.service import Client, Here, Service
from sdsr.web.store import PhotoRow
from sdsr.web.views import PhotoList, PhotoView, safe_name
from sdsr.web.wishes import PhotoForm, UploadFile

FOREVER = "private, max-age=86400, immutable"
router = APIRouter(prefix="/v1/photos", tags=["photos"], responses=RESPONSES)


@router.post("", status_code=201)
async def upload_photo(
    form: Annotated[PhotoForm, File(media_type="multipart/form-data")], here: Here, client: Client
) -> PhotoView:
    """Upload a photo. It is decoded at once, in another process, and refused here where that fails."""
    return PhotoView.of(await keep_photo(here, form.photo, client))


@router.get("")
async def list_photos(here: Here, client: Client) -> PhotoList:
    """Return the client's photos, the newest first."""
    return PhotoList(photos=[PhotoView.of(photo) for photo in here.store.photos(client)])


@router.get("/{id}")
async def get_photo(id: str, here: Here) -> PhotoView:
    """Return what is known of a photo."""
    return PhotoView.of(here.photo(id))


@router.get("/{id}/proxy", response_class=FileResponse)
async def get_photo_proxy(id: str, here: Here) -> Response:
    """Return the photo at screen size, as WebP."""
    here.photo(id)
    return FileResponse(here.files.photo(id) / PROXY, headers={"Cache-Control": FOREVER}, media_type="image/webp")


@router.get("/{id}/thumbnail", response_class=FileResponse)
async def get_thumbnail(id: str, here: Here) -> Response:
    """Return the photo in 320 px, as WebP."""
    here.photo(id)
    return FileResponse(here.files.photo(id) / THUMBNAIL, headers={"Cache-Control": FOREVER}, media_type="image/webp")


@router.delete("/{id}", status_code=204)
async def delete_photo(id: str, here: Here) -> Response:
    """Delete a photo; its jobs first."""
    here.photo(id)
    if not forget_photo(here.desk, id):
        raise Problem(409, "state", "jobs stand on the photo; delete them first.")
    return Response(status_code=204)


async def keep_photo(here: Service, upload: UploadFile, client: str) -> PhotoRow:
    """Keep an upload that is a photo; raise Problem or an error of the library for what is none."""
    if await run_in_threadpool(here.files.full):
        raise OutputError(f"the service keeps {here.settings.stored_bytes >> 20} MiB already; delete jobs, or wait.")
    id, size = await run_in_threadpool(here.files.keep, upload.file, SOURCE)
    folder = here.files.photo(id)
    try:
        header = await here.checking.header(folder)
        here.files.note(folder)
        return here.store.add_photo(id, client, name=safe_name(upload.filename), header=header, size=size)
    except BaseException:
        remove(folder)
        raise
