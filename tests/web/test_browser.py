"""The page in a real browser, on a service as it is run. `make test-browser`; it takes Debian's chromium."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image as pillow
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from sdsr.trust.consistency import SLIGHT, STRONG
from sdsr.web.files import Files
from sdsr.web.pictures import BEFORE, PROXY, keep_pixels, proxy_size, write_proxy
from sdsr.web.sessions import Sessions
from sdsr.web.store import Store
from tests.served import SAMPLE, Served, wait

pytestmark = pytest.mark.browser
PAGE = Path(__file__).parents[2] / "sdsr" / "web" / "page"
MOST_TAB_BYTES = 400 << 20
SOON = 90_000
"""Milliseconds in which a small photo is restored, on a busy machine too."""
LATEST_PAGE_S = 30
"""Of a start to a usable page, on any machine: 3 s on an idle one."""
SLOW_MODEL = "stablesr-small"

Serve = Callable[..., Served]
Opens = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no chromium: apt-get install chromium, or say where by CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])  # CI runs as root
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, service: Served) -> Iterator[Opens]:
    """Opens the page in a context of its own; whatever it complains of fails the test."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            said.append(message.text)

    def opens(*, width: int = 1280, height: int = 900, cookie: str | None = None, url: str = "", **options) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        if cookie is not None:
            context.add_cookies([{"name": "sdsr", "value": cookie, "url": service.url}])
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url or service.url)
        expect(page.locator("#wish-model")).to_be_visible()
        return page

    yield opens
    for context in contexts:
        context.close()
    assert said == []


def add(page: Page, *photos: Path) -> None:
    page.set_input_files("#more" if page.locator("#strip").is_visible() else "#files", photos)


def result(page: Page, name: str = "Result 1") -> None:
    """Wait until a result is shown."""
    expect(page.locator(".tabs button[aria-pressed=true]")).to_have_text(
        re.compile(rf"^{name} · [a-z0-9-]+$"), timeout=SOON
    )
    expect(page.locator(".line")).to_be_visible(timeout=SOON)


def photo(folder: Path, name: str, *, width: int = 60, height: int = 48) -> Path:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    pillow.fromarray(pixels).resize((width, height), pillow.Resampling.BICUBIC).save(folder / name)
    return folder / name


def test_a_photo_is_tried_restored_compared_and_taken_home(opened: Opens, service: Served, tmp_path: Path) -> None:
    page = opened(accept_downloads=True)
    add(page, SAMPLE)
    page.select_option("#wish-size", "2")
    expect(page.locator("#result-size")).to_have_text("Result: 256 × 256 px, 0.1 MP.")  # noqa: RUF001  as shown
    mark(page, (0.25, 0.25), (0.75, 0.7))
    page.get_by_role("button", name="Try the marked region").click()
    result(page, "Try 1")
    page.get_by_role("button", name="Restore this photo").click()
    result(page)
    expect(page.locator(".facts")).to_contain_text("Detail here was invented by d3sr-small")
    _slide_by_keyboard(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "sample_restored.jpg"
    command = [sys.executable, "-m", "sdsr", "upscale", str(SAMPLE), "-o", str(tmp_path / "cli.jpg")]
    subprocess.run([*command, "--scale", "2", "--device", "cpu", "--quiet"], check=True, env=service.environment)
    assert Path(download.value.path()).read_bytes() == (tmp_path / "cli.jpg").read_bytes()


def mark(page: Page, first: tuple[float, float], last: tuple[float, float]) -> None:
    """Draw a region from one corner to the other, in shares of the photo."""
    picture = page.locator(".picture.marking")
    expect(picture).to_be_visible(timeout=SOON)
    box = picture.bounding_box()
    assert box is not None
    corners = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (first, last)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1], steps=4)
    page.mouse.up()


def test_places_are_kept_and_the_result_is_a_consistent_mean(opened: Opens) -> None:
    page = opened()
    add(page, SAMPLE)
    page.select_option("#wish-size", "2")
    mark(page, (0.25, 0.25), (0.5, 0.5))
    page.get_by_role("button", name="Keep the marked region as it is").click()
    mark(page, (0.5, 0.5), (0.75, 0.75))
    page.get_by_role("button", name="Keep the marked region as it is").click()
    page.get_by_role("button", name="Let go of kept place 2").click()
    expect(page.locator(".kept")).to_have_count(1)
    mark(page, (0.1, 0.1), (0.9, 0.9))
    mark(page, (0.95, 0.95), (0.95, 0.95))  # a click beside it lets go of it
    expect(page.get_by_role("button", name="Try a region first")).to_be_visible()
    page.locator("summary").click()
    page.get_by_label("True to the photo's pixels").check()
    page.get_by_label("Passes").select_option("2")
    page.get_by_role("button", name="Restore this photo").click()
    result(page)
    expect(page.locator(".facts")).to_contain_text(
        "It is the mean of 2 passes. One place is the photo's, enlarged. Made small again, it is the photo."
    )
    page.select_option("#wish-size", "width")
    page.fill("#wish-amount", "64")
    expect(page.get_by_label("True to the photo's pixels")).to_be_hidden()


def _slide_by_keyboard(page: Page) -> None:
    slider = page.get_by_label("Where photo and result meet")
    slider.focus()
    page.keyboard.press("Home")
    after = page.locator(".picture > img").nth(1)
    assert "0%" in after.evaluate("each => each.style.clipPath")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert "99%" in after.evaluate("each => each.style.clipPath")


def test_every_way_to_compare_shows_something(opened: Opens) -> None:
    page = opened()
    add(page, SAMPLE)
    page.select_option("#wish-size", "2")
    page.get_by_role("button", name="Restore this photo").click()
    result(page)
    page.get_by_label("Difference", exact=True).check()
    expect(page.locator(".picture.difference")).to_be_visible()
    page.get_by_label("Where it contradicts the photo").check()
    expect(page.locator("img.map")).to_be_visible()
    scale = f"clear, by less than {255 * SLIGHT:g} of 255, as true pictures mostly do; red, by {255 * STRONG:g} or more"
    expect(page.locator(".legend")).to_contain_text(scale)
    page.get_by_label("Loupe", exact=True).check()
    page.keyboard.press("Tab")
    page.locator(".picture").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".loupe img.tile")).to_have_count(2)
    page.get_by_label("Blink", exact=True).check()
    page.get_by_role("button", name="Turn by hand").click()
    page.get_by_label("Slider", exact=True).check()
    page.get_by_label("1:1", exact=True).check()
    expect(page.locator(".sheet img.tile")).to_have_count(2)
    assert page.locator(".sheet img.tile").first.evaluate("each => each.decode().then(() => each.naturalWidth)") == 256
    page.get_by_label("Fit", exact=True).check()
    page.get_by_role("button", name="Restore this photo").click()
    result(page, "Result 2")
    page.get_by_label("Against").select_option(index=1)
    expect(page.locator(".tag.left")).to_have_text("Result of d3sr-small")


def test_a_job_is_canceled_and_the_next_one_runs(opened: Opens, tmp_path: Path) -> None:
    page = opened()
    add(page, photo(tmp_path, "a.png"))
    page.select_option("#wish-model", SLOW_MODEL)
    page.get_by_role("button", name="Restore this photo").click()
    expect(page.locator(".facts")).to_contain_text("step", timeout=SOON)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".failed")).to_have_text("This job was canceled.")
    page.select_option("#wish-model", "d3sr-small")
    page.get_by_role("button", name="Restore this photo").click()
    result(page, "Result 2")


def test_a_reload_loses_nothing(opened: Opens, tmp_path: Path) -> None:
    page = opened()
    add(page, photo(tmp_path, "one.png"), photo(tmp_path, "two.png"))
    page.select_option("#wish-model", SLOW_MODEL)
    page.locator("#cards .card").nth(1).click()
    page.get_by_role("button", name="Restore this photo").click()
    expect(page.locator(".facts")).to_contain_text("step", timeout=SOON)
    page.reload()
    expect(page.locator("#cards .card")).to_have_count(2)
    expect(page.locator(".facts")).to_contain_text("Restoring", timeout=SOON)
    expect(page.locator(".tabs button[aria-pressed=true]")).to_contain_text("working")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".failed")).to_be_visible()


def test_a_phone_is_not_told_to_drop_photos(opened: Opens) -> None:
    drop = opened().get_by_text("Drop photos here")
    expect(drop).to_be_visible()
    page = opened(width=360, height=640, has_touch=True, is_mobile=True)
    expect(page.locator("label", has_text="Choose photos")).to_be_visible()
    expect(page.get_by_text("Drop photos here")).to_be_hidden()
    expect(page.get_by_text("or paste one")).to_be_hidden()


def test_twelve_photos_at_once_on_a_phone(opened: Opens, tmp_path: Path) -> None:
    page = opened(width=360, height=740, has_touch=True, is_mobile=True)
    add(page, *(photo(tmp_path, f"photo {number}.png") for number in range(12)))
    expect(page.get_by_role("button", name="Restore all 12")).to_be_enabled(timeout=SOON)
    page.select_option("#wish-size", "2")
    page.get_by_role("button", name="Restore all 12").click()
    expect(page.locator("#cards .what", has_text="restored")).to_have_count(12, timeout=SOON)
    expect(page.locator("#tally")).to_have_text("12 of 12 restored")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all as a zip").click()
    assert download.value.suggested_filename == "restored.zip"


def test_what_is_no_photo_is_said_to_be(opened: Opens, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no photo")
    page = opened()
    page.set_input_files("#files", tmp_path / "notes.jpg")
    expect(page.locator(".failed")).to_contain_text("is no photo in a known format")
    expect(page.locator("#cards .what")).to_have_text("can't be used")
    expect(page.locator("#cards img")).to_have_count(0)  # which would be shown as broken
    page.get_by_role("button", name="Remove notes.jpg").click()
    expect(page.locator("#welcome")).to_be_visible()


def test_an_empty_file_is_said_to_be_one(opened: Opens, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    page = opened()
    page.set_input_files("#files", tmp_path / "empty.jpg")
    expect(page.get_by_role("alert").filter(has_text="is empty (=0 bytes)")).to_be_visible()
    expect(page.locator("#cards .what")).to_have_text("can't be used")


def test_no_job_is_started_that_is_too_large(opened: Opens, serve: Serve, tmp_path: Path) -> None:
    served = serve("--max-output-megapixels", "0.05")
    page = opened(url=served.url)
    add(page, SAMPLE, photo(tmp_path, "a.png"))
    expect(page.locator("#result-size")).to_contain_text("That is more than this service makes (0.05 MP)", timeout=SOON)
    for name in ("Try a region first", "Restore this photo"):
        button = page.get_by_role("button", name=name)
        expect(button).to_be_disabled()
        expect(button).to_have_accessible_description(re.compile("more than this service makes"))
        button.press("Enter")
    expect(page.get_by_role("button", name="Restore 1 of 2")).to_be_enabled(timeout=SOON)
    page.get_by_role("button", name="Make it 223 × 223 px, the most").press("Enter")  # noqa: RUF001  as shown
    expect(page.locator("#wish-amount")).to_be_focused()
    page.get_by_role("button", name="Restore this photo").press("Enter")
    result(page)
    assert [(job["width"], job["height"]) for job in page.evaluate(_JOBS)] == [(223, 223)]


_JOBS = "fetch('/v1/jobs').then((answer) => answer.json()).then((list) => list.jobs)"


def test_a_seed_is_asked_for_where_it_means_something(opened: Opens, tmp_path: Path) -> None:
    page = opened()
    add(page, photo(tmp_path, "a.png"))
    page.locator("summary").click()
    expect(page.locator("#wish-seed")).to_have_count(0)
    page.get_by_role("button", name="Restore this photo").click(timeout=SOON)
    result(page)
    expect(page.locator(".facts")).to_contain_text("by d3sr-small (1 step); the file")
    page.select_option("#wish-model", "invsr-small")
    page.fill("#wish-seed", "5")
    page.get_by_role("button", name="Restore this photo").click()
    result(page, "Result 2")
    expect(page.locator(".facts")).to_contain_text("by invsr-small (1 step, seed 5); the file")
    expect(page.get_by_label("Against").locator("option")).to_have_text(["the photo", "d3sr-small, 1 step"])


@pytest.mark.parametrize("look", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Opens, look: str) -> None:
    page = opened(color_scheme=look, reduced_motion="reduce")
    _axe(page)
    add(page, SAMPLE)
    expect(page.get_by_role("button", name="Restore this photo")).to_be_enabled(timeout=SOON)
    page.locator("summary").click()
    _axe(page)
    page.select_option("#wish-size", "2")
    page.get_by_role("button", name="Restore this photo").click()
    result(page)
    _axe(page)
    page.get_by_label("1:1", exact=True).check()
    _axe(page)


def _axe(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert serious == [], "\n".join(f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in serious)


def test_all_is_done_by_keyboard(opened: Opens) -> None:
    page = opened()
    add(page, SAMPLE)
    expect(page.locator(".picture.marking")).to_be_visible(timeout=SOON)
    page.locator("#wish-size").focus()
    page.keyboard.press("Home")
    for _ in range(12):
        if page.evaluate("document.activeElement.id") == "run":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    result(page)


def test_focus_is_never_lost(opened: Opens, tmp_path: Path) -> None:
    page = opened()
    add(page, photo(tmp_path, "a.png"))
    page.select_option("#wish-size", "2")
    for name, made in (("Try a region first", "Try 1"), ("Restore this photo", "Result 1")):
        button = page.get_by_role("button", name=name)
        expect(button).to_be_enabled(timeout=SOON)
        id = button.get_attribute("id")
        page.evaluate(
            "lost = 0;"
            "addEventListener('focusout', () => setTimeout(() => lost += document.activeElement === document.body))"
        )
        button.press("Enter")
        result(page, made)
        expect(page.locator(f"#{id}")).to_be_focused()
        assert page.evaluate("lost") == 0
    page.locator("#tab-photo").press("Enter")
    expect(page.locator("#tab-photo")).to_be_focused()
    page.locator(".tabs button").last.press("Enter")
    expect(page.locator(".tabs button").last).to_be_focused()
    page.get_by_label("Slider", exact=True).press("ArrowRight")
    expect(page.get_by_label("Blink", exact=True)).to_be_focused()
    page.get_by_label("Where it contradicts the photo").press("Space")
    expect(page.get_by_label("Where it contradicts the photo")).to_be_focused()
    page.get_by_role("button", name="Remove result").press("Enter")
    expect(page.locator("#tab-photo")).to_be_focused()
    page.get_by_role("button", name="Remove a.png").press("Enter")
    expect(page.locator("#files")).to_be_focused()


def test_focus_goes_from_cancel_to_the_result(opened: Opens, tmp_path: Path) -> None:
    page = opened()
    add(page, photo(tmp_path, "a.png"))
    page.select_option("#wish-model", SLOW_MODEL)
    page.locator("summary").click()
    page.fill("#wish-steps", "20")
    page.get_by_role("button", name="Restore this photo").click(timeout=SOON)
    page.get_by_role("button", name="Cancel").focus(timeout=SOON)
    result(page)
    expect(page.get_by_label("Where photo and result meet")).to_be_focused()


@pytest.mark.parametrize(("width", "height"), [(360, 640), (1280, 560)])
def test_nothing_lies_over_what_has_the_focus(opened: Opens, tmp_path: Path, width: int, height: int) -> None:
    page = opened(width=width, height=height, reduced_motion="reduce")
    add(page, photo(tmp_path, "a.png"), photo(tmp_path, "b.png"))
    page.select_option("#wish-size", "2")
    page.locator("summary").click()
    expect(page.get_by_role("button", name="Restore all 2")).to_be_enabled(timeout=SOON)
    assert {"files", "more", "run", "run-all"} & _tabbed(page) == {"more", "run", "run-all"}
    page.get_by_role("button", name="Restore this photo").click()
    result(page)
    assert {"choice-Compare-by-slider", "choice-Zoom-fit", "contradicts", "wish-format"} <= _tabbed(page)


def _tabbed(page: Page) -> set[str]:
    """Go through all that takes the keyboard's focus, and back; return the ids. Each must be seen whole."""
    ids: set[str] = set()
    for key in ("Tab", "Shift+Tab"):
        page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
        for _ in range(60):
            page.keyboard.press(key)
            id, covered = page.evaluate(_COVERED)
            if id is None:
                break
            assert not covered, f"{key}: {id} lies under {covered}"
            ids.add(id)
    return ids


_COVERED = """() => {
  const focused = document.activeElement;
  if (focused === document.body) return [null, null];
  const seen = focused.classList.contains("hidden") ? focused.labels[0] : focused;
  const box = seen.getBoundingClientRect();
  const middle = Math.min(Math.max(0, box.left + box.width / 2), innerWidth - 1);
  const within = [box.top + 2, (box.top + box.bottom) / 2, box.bottom - 2];
  const over = within.map((y) => document.elementFromPoint(middle, y));
  const own = (each) => each && (each.contains(seen) || seen.parentElement.contains(each));
  const other = over.find((each) => !own(each));
  const named = (each) => each?.id || (each?.outerHTML.slice(0, 80) ?? "the edge");
  return [named(focused), other === undefined ? null : named(other)];
}"""


def test_a_result_of_24_megapixels_is_panned_on_a_phone(opened: Opens, service: Served) -> None:
    cookie = _stored_result(service, 6000, 4000)
    page = opened(width=360, height=740, cookie=cookie, has_touch=True)
    expect(page.locator(".line")).to_be_visible(timeout=SOON)
    page.get_by_label("1:1", exact=True).check()
    full = page.locator(".full")
    most = 0
    for step in range(24):
        full.evaluate("(each, at) => each.scrollTo(at[0], at[1])", [step * 240, (step * 700) % 3600])
        page.wait_for_timeout(120)
        most = max(most, _largest_renderer())
        assert page.locator(".sheet img.tile").count() <= 12
    assert most < MOST_TAB_BYTES


def _stored_result(service: Served, width: int, height: int) -> str:
    """Put a finished job of that size into the service's folder; return the cookie of its client."""
    sessions = Sessions.of(service.folder, None)
    cookie = sessions.mint()
    client = sessions.client(cookie)
    assert client is not None
    store = Store(service.folder / "jobs.sqlite")
    files = Files(service.folder, 1 << 40)
    pixels = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with SAMPLE.open("rb") as file:
        id, size = files.keep(file, "source")
    header = {"format": "PNG", "width": width // 4, "height": height // 4, "bits": 8, "gray": False, "alpha": False}
    keep_pixels(np.ascontiguousarray(pixels[::4, ::4]), files.photo(id))
    for name in (PROXY, "thumbnail.webp"):
        write_proxy(pixels[::4, ::4], files.photo(id) / name, proxy_size(width // 4, height // 4))
    store.add_photo(id, client, name="large.png", header=header, size=size)
    wishes = {"model": "d3sr-small", "request": {"scale": 4.0}, "region": None, "size": [width, height]}
    wishes |= {"format": None, "quality": None}
    job = store.add_job(client, id, "full", wishes, most=1 << 30, most_of_client=1 << 30)
    assert job is not None
    store.database.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (job.id,))
    folder = files.begin_job(job.id)
    keep_pixels(pixels, folder)
    for name in (PROXY, BEFORE):
        write_proxy(pixels, folder / name, proxy_size(width, height))
    outcome = {"file": "result.png", "format": "PNG", "bytes": 1, "size": [width, height], "seconds": 1.0}
    outcome |= {
        "model": "d3sr-small",
        "steps": 1,
        "seed": 0,
        "chosen": None,
        "consistency_db": None,
        "contradicts": False,
    }
    assert store.finish(job.id, outcome)
    store.close()
    return cookie


def _largest_renderer() -> int:
    """The resident memory of the largest tab."""
    largest = 0
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            if "--type=renderer" in (process.info["cmdline"] or ()):
                largest = max(largest, process.memory_info().rss)
    return largest


def test_the_page_is_light_and_soon_there(chromium: Browser, serve: Serve) -> None:
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 300_000
    began = time.monotonic()
    served = serve()
    page = chromium.new_page()
    page.goto(served.url)
    expect(page.locator("#wish-model")).to_be_visible()
    assert time.monotonic() - began < LATEST_PAGE_S
    add(page, SAMPLE)
    expect(page.get_by_role("button", name="Restore this photo")).to_be_enabled(timeout=SOON)
    page.close()
    wait(lambda: served.client.get("/livez").status_code == 200)


def test_a_token_is_asked_for_and_kept_in_a_cookie(chromium: Browser, serve: Serve) -> None:
    token = "a token of this test"
    served = serve(SDSR_TOKEN=token)
    page = chromium.new_page()
    page.goto(served.url)
    expect(page).to_have_url(f"{served.url}login")
    page.get_by_label("Token of this service").fill(token)
    page.keyboard.press("Enter")
    expect(page.locator("#wish-model")).to_be_visible()
    assert token not in page.url
    assert page.evaluate("document.cookie") == ""
    page.close()
