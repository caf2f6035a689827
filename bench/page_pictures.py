"""The pictures of the page in docs/service.md: the sample, restored, in a wide window, in a dark one, and on a phone.

python bench/page_pictures.py [FOLDER]

Written are page-wide.webp, page-dark.webp and page-phone.webp, into docs/images by default. Takes playwright and
Debian's chromium, or another one by CHROMIUM=/path/to/it, as `make test-browser` does.
"""

import argparse
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image as pillow
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.served import SAMPLE, Served

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SOON_MS = 90_000
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=IMAGES)
    folder = parser.parse_args().folder
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as kept, sync_playwright() as playwright:
        served = Served(Path(kept) / "kept")
        served.ready()
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        restored(browser, served, folder / "page-wide.webp", viewport=WIDE)
        restored(browser, served, folder / "page-dark.webp", viewport=WIDE, color_scheme="dark")
        restored(browser, served, folder / "page-phone.webp", viewport=PHONE, has_touch=True)
        browser.close()
        served.stop()


def restored(browser: Browser, served: Served, to: Path, **options) -> None:
    """Restore the sample by the page, as a newcomer would, and keep what it looks like."""
    page = browser.new_context(**options).new_page()
    page.goto(served.url)
    page.set_input_files("#files", SAMPLE)
    page.get_by_role("button", name="Restore this photo").click(timeout=SOON_MS)
    page.locator(".line").wait_for(timeout=SOON_MS)
    page.wait_for_load_state("networkidle")
    keep(page, to)
    page.context.close()


def keep(page: Page, to: Path) -> None:
    with pillow.open(io.BytesIO(page.screenshot())) as shown:
        shown.convert("RGB").save(to, quality=80, method=6)


if __name__ == "__main__":
    main()
