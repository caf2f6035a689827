"""Nothing is kept for longer than was said."""

import asyncio
import logging
import time

from sdsr.web.desk import Desk
from sdsr.web.files import remove

SWEEP_S = 60.0
log = logging.getLogger(__name__)


def sweep(desk: Desk, keep_s: float) -> None:
    """Delete what is older than `keep_s` seconds, and folders that belong to nothing."""
    jobs, photos = desk.store.expired(time.time() - keep_s)
    for id in jobs:
        forget_job(desk, id)
    for id in photos:
        forget_photo(desk, id)


def remove_strays(desk: Desk) -> None:
    """Delete what uploads and jobs left that were cut off; only before any of them begins."""
    for path in desk.files.strays(*desk.store.known()):
        remove(path)


def forget_job(desk: Desk, id: str) -> None:
    """Delete a job that has ended, with its files."""
    if desk.store.forget_job(id):
        remove(desk.files.job(id))


def forget_photo(desk: Desk, id: str) -> bool:
    """Delete a photo that no job stands on; return whether it did."""
    if not desk.store.forget_photo(id):
        return False
    remove(desk.files.photo(id))
    return True


async def keep_sweeping(desk: Desk, keep_s: float) -> None:
    """Sweep once a minute."""
    while True:
        try:
            sweep(desk, keep_s)
        except OSError:
            log.exception("could not delete what has expired")
        await asyncio.sleep(SWEEP_S)
