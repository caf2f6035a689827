"""The process that decodes uploads: a file that breaks a decoder breaks this process, and no server.

`python -m sdsr.web.reader MAX_BYTES MAX_PIXELS`, then a folder a line. No torch is loaded.
"""

import sys
from dataclasses import asdict
from pathlib import Path

from sdsr.errors import SdsrError
from sdsr.photos.files import probe, read_photo
from sdsr.photos.limits import Limits
from sdsr.web.lines import Channel
from sdsr.web.pictures import PROXY, THUMBNAIL, THUMBNAIL_PX, keep_pixels, proxy_size, view_of, write_proxy

SOURCE = "source"


def main(arguments: list[str]) -> None:
    """Decode the photos that are asked for, until nobody asks any more."""
    max_bytes, max_pixels = map(int, arguments)
    limits = Limits(max_file_bytes=max_bytes, max_input_pixels=max_pixels, program="sdsr serve")
    channel = Channel()
    for message in channel.messages():
        channel.send(**look_at(Path(message["folder"]), limits))


def look_at(folder: Path, limits: Limits) -> dict:
    """Decode the photo of a folder, keep its pixels and its proxy there, and return its header; or its error."""
    try:
        data = (folder / SOURCE).read_bytes()
        header = probe(data, limits)
        pixels = view_of(read_photo(data, limits))
        keep_pixels(pixels, folder)
        write_proxy(pixels, folder / PROXY, proxy_size(header.width, header.height))
        write_proxy(pixels, folder / THUMBNAIL, proxy_size(header.width, header.height, THUMBNAIL_PX))
    except SdsrError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except OSError as error:
        return {"error": "OutputError", "message": f"the photo could not be kept ({error.strerror}); make room."}
    except MemoryError:
        return {"error": "LimitError", "message": "the photo takes more memory than there is; send a smaller one."}
    return {"header": asdict(header)}


if __name__ == "__main__":
    main(sys.argv[1:])
