"""Places that are URLs, as they are typed, and the file systems behind them, by fsspec, which an extra brings."""

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from sdsr.errors import InputError

_WITHOUT_LISTS = frozenset({"http", "https", "data"})
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?!/)(.*)", re.DOTALL)
_FILE = re.compile(r"file:(?://)?(/.*)", re.DOTALL)


def url_of(path: Path | str) -> str | None:
    """Return the URL that a path of the command line stands for, which lost a slash there; None for one of files.

    >>> url_of(Path("s3://bucket/photos")), url_of("c:/photos"), url_of("photos")
    ('s3://bucket/photos', None, None)
    """
    match = _URL.fullmatch(str(path))
    if match is None or match[1] == "file" or os.path.lexists(path):
        return None
    return f"{match[1]}://{match[2].rstrip('/')}"


def without_file_scheme(path: Path) -> Path:
    """Return the path of a file:// URL, and any other as it is.

    >>> without_file_scheme(Path("file:///mnt/photos")).as_posix()
    '/mnt/photos'
    """
    match = _FILE.fullmatch(str(path))
    return path if match is None or os.path.lexists(path) else Path(match[1])


def open_file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it; InputError where there is no driver, or none that lists.

    It is a new one, and keeps no listings, as others write there too.
    """
    if url.partition("://")[0] in _WITHOUT_LISTS or "::" in url:
        raise InputError(f"{url} can't be listed; name a bucket, such as s3://bucket/photos.")
    try:
        core = import_module("fsspec.core")
    except ImportError as error:
        raise InputError(f"{url} needs fsspec, which is missing; pip install 'sdsr[bucket]'.") from error
    try:
        system, path = core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise InputError(f"{url} needs a driver, which is missing ({error}); pip install 'sdsr[bucket]'.") from error
    except ValueError as error:
        raise InputError(f"{url} is of no known protocol ({error}); try s3:// or gs://.") from error
    return system, path.rstrip("/")
