"""Errors as RFC 9457 problem details: the messages of errors.py, which say what, the value, the limit, the remedy."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from sdsr import errors
from sdsr.errors import InputError, LimitError, ModelError, OutputError, SdsrError

MEDIA_TYPE = "application/problem+json"
RETRY_S = 5
_STATUS: tuple[tuple[type[SdsrError], tuple[int, str]], ...] = (
    (LimitError, (413, "limit")),
    (InputError, (422, "input")),
    (OutputError, (507, "output")),
    (ModelError, (503, "model")),
)
log = logging.getLogger(__name__)


class ProblemDetails(BaseModel):
    """RFC 9457. `detail` is for the reader: what, the value, the limit, the remedy."""

    type: str = Field(examples=["urn:sdsr:problem:limit"])
    title: str = Field(examples=["Content Too Large"])
    status: int = Field(examples=[413])
    detail: str = Field(examples=["the photo announces 20000x20000 (400 MP), limit 64 MP; crop or shrink it."])


class Problem(Exception):
    """What a request can't have; `kind` names it for programs."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})

    @property
    def details(self) -> ProblemDetails:
        return ProblemDetails(
            type=f"urn:sdsr:problem:{self.kind}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
        )

    def response(self) -> JSONResponse:
        return JSONResponse(self.details.model_dump(), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def busy(detail: str) -> Problem:
    """Return the problem of a limit that time mends."""
    return Problem(429, "busy", detail, {"Retry-After": str(RETRY_S)})


def missing(what: str) -> Problem:
    """Return the problem of something that isn't there, or isn't any more."""
    return Problem(404, "missing", f"{what} is not here; it was deleted, expired, or never was: list /v1/jobs.")


def problem_named(name: str, message: str) -> Problem:
    """Return what an error of the library, by its class's name, is to a client; another process may have met it."""
    error = getattr(errors, name, Exception)
    status, short = next((answer for kind, answer in _STATUS if issubclass(error, kind)), (500, "internal"))
    return Problem(status, short, message)


def add_problems(app: FastAPI) -> None:
    """Let an application answer with problem details, whatever goes wrong."""

    @app.exception_handler(Problem)
    async def _(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(SdsrError)
    async def _(request: Request, error: SdsrError) -> Response:
        return problem_named(type(error).__name__, str(error)).response()

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return Problem(422, "input", "; ".join(map(_sentence, error.errors()))).response()

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, OSError):  # of the file that the body is spooled to
            reason = error.__cause__.strerror
            return Problem(
                507,
                "output",
                f"the upload could not be kept ({reason}); make room on the server's disk, or delete jobs.",
            ).response()
        detail = f"{error.detail}; see /openapi.json for what there is."
        if error.status_code == 413:
            detail = (
                "the body is larger than this service takes; send a smaller file, or ask whoever runs it for a "
                "larger --max-bytes (of `sdsr serve`)."
            )
        return Problem(error.status_code, "request", detail, error.headers).response()

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> Response:
        return Problem(500, "internal", "the service failed; its log says why. Try again.").response()


def _sentence(error: Mapping) -> str:
    where = ".".join(map(str, error["loc"][1:])) or "body"
    value = error.get("input")
    shown = f" (={value!r:.80})" if isinstance(value, str | int | float) else ""
    return f"{where}{shown}: {str(error['msg'])[:1].lower()}{str(error['msg'])[1:]}; see /openapi.json"


RESPONSES: dict[int | str, dict] = {
    status: {"description": description, "content": {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}}}
    for status, description in (
        (400, "The body is no form, or the Host is none of this service's."),
        (401, "A token is needed."),
        (403, "The request comes from a page of another site."),
        (404, "There is no such thing, or not any more."),
        (405, "Not with this method."),
        (408, "The body came too slowly."),
        (409, "It is not finished."),
        (413, "More bytes or pixels than are taken."),
        (422, "What was given can't be used; `detail` says why."),
        (429, "Too much is waiting; come back after Retry-After seconds."),
        (503, "It can't be done now."),
        (507, "There is no room on the disk."),
    )
}
