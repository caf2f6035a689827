"""`sdsr serve`: the page and the HTTP API, on this machine unless a token lets others in."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sdsr.batch.amounts import parse_bytes
from sdsr.errors import InputError
from sdsr.extras import methods_here
from sdsr.models import DEFAULT_MODEL

TOKEN = "SDSR_TOKEN"


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine it takes a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8765,
    model: Annotated[str, typer.Option(help="The embedded model that is chosen at first.")] = DEFAULT_MODEL,
    folder: Annotated[
        Path | None, typer.Option(help="Where photos and results are kept; ~/.local/share/sdsr/service by default.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"A file with the token that others need; or set {TOKEN}.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another name that it answers to, behind a proxy say; repeatable.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="cpu, cuda:0, cuda:1 ...: one process each; the fastest by default.")
    ] = None,
    max_bytes: Annotated[str, typer.Option(help="The largest file that is taken, as 64M.")] = "64M",
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="The largest photo.")] = 64,
    max_output_megapixels: Annotated[float, typer.Option(min=0.01, help="The largest result.")] = 256,
    max_stored: Annotated[str, typer.Option(help="The most that is kept, as 20G.")] = "20G",
    queue: Annotated[int, typer.Option(min=1, help="Jobs that may wait.")] = 128,
    queue_per_client: Annotated[int, typer.Option(min=1, help="Jobs of one client that may wait.")] = 32,
    job_minutes: Annotated[float, typer.Option(min=0.01, help="How long a job may take.")] = 60,
    keep_hours: Annotated[float, typer.Option(min=0.001, help="When photos and results are deleted.")] = 24,
    forget: Annotated[bool, typer.Option(help="Delete all of them when the service ends.")] = False,
    metrics: Annotated[bool, typer.Option(help="Tell figures at /metrics.")] = False,
) -> None:
    """Open the page on this machine: drop a photo, watch it clear up, take it home; and the HTTP API that it uses.

    Jobs survive a restart. The page and the API are told in docs/service.md, what is promised in docs/security.md.
    """
    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if find_spec(name) is None]
    if missing:
        raise InputError(f"serve needs {', '.join(missing)} (not installed); run `pip install 'sdsr[web]'`.")
    for each in device or ():
        if each != "cpu" and not methods_here():
            raise InputError(f"device (={each}) needs torch, not installed; say cpu, or pip install 'sdsr[methods]'.")
    from sdsr.photos.limits import Limits
    from sdsr.web.abilities import abilities_here, chosen_of
    from sdsr.web.serving import serve as listen
    from sdsr.web.settings import Settings

    chosen_of(abilities_here(), model)
    settings = Settings(
        folder=(folder or _usual_folder()).absolute(),
        host=host,
        port=port,
        token=_token(token_file),
        hosts=tuple(allow_host or ()),
        devices=tuple(device or ()) or (None,),
        model=model,
        limits=Limits(
            max_input_pixels=int(max_megapixels * 1e6),
            max_output_pixels=int(max_output_megapixels * 1e6),
            max_file_bytes=parse_bytes(max_bytes),
            program="sdsr serve",
        ),
        queue=queue,
        queue_per_client=queue_per_client,
        stored_bytes=parse_bytes(max_stored),
        job_s=job_minutes * 60,
        keep_s=keep_hours * 3600,
        forget=forget,
        metrics=metrics,
    )
    listen(settings, on_listening=lambda address: typer.echo(f"sdsr: open {address} (Ctrl-C ends it)"))


def _usual_folder() -> Path:
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "sdsr" / "service"


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise InputError(f"token file (={path.name}) can't be read ({error}); write the token into it.") from error
