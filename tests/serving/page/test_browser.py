"""The page in a real browser: upload, progress, table, filter, packets, a reason, a running watch."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serve_running import TOKEN, event, lines

import mtc

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
CHROMIUM = os.environ.get("MTC_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def paged(serve: Any, key_file: Path) -> Iterator[Any]:
    """A server with a token, a page and pseudonyms for all addresses."""
    with serve("--pseudonymize", str(key_file), MTC_SERVE_TOKEN=TOKEN) as found:
        yield found


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, paged: Any) -> Iterator[Any]:
    """A signed-in page, on a desk in light and on a phone in dark; nothing may go wrong in it."""
    size = {"width": 1280, "height": 900} if request.param == "light" else {"width": 390, "height": 844}
    context = browser.new_context(color_scheme=request.param, viewport=size)
    found = context.new_page()
    found.set_default_timeout(PATIENCE_MS)
    troubles: list[str] = []
    found.on(
        "console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None
    )
    found.on("pageerror", lambda error: troubles.append(str(error)))
    found.on("request", lambda asked: _is_own(asked.url, paged.url) or troubles.append(asked.url))
    found.goto(f"{paged.url}/")
    found.fill("#token", TOKEN)
    found.keyboard.press("Enter")
    found.wait_for_selector(".drop")
    found.wait_for_function("window.socket && window.socket.connected")  # events before that are lost
    yield found
    context.close()
    assert troubles == []


def _is_own(url: str, server: str) -> bool:
    return url.startswith((server, server.replace("http", "ws"), "data:", "blob:"))


def test_from_a_capture_to_a_reason(page: Any) -> None:
    page.set_input_files("input[type=file]", DEMO)
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("text=19 flows")
    assert page.locator("h1").inner_text() == "demo.pcap"
    assert page.locator('[aria-label="Flows"] button.open').count() == 15  # a page of the table
    assert page.locator("canvas").count() == 2

    page.fill('[data-testid="filter"]', "993")
    page.wait_for_selector('[data-testid="count"]:text-is("1 flow")')
    found = page.locator('[aria-label="Flows"] tbody tr')
    assert found.count() == 1
    assert ":993 tcp" in found.inner_text()
    page.fill('[data-testid="filter"]', "")
    page.wait_for_selector('[data-testid="count"]:text-is("19 flows")')

    page.locator('[aria-label="Flows"] button.open').first.focus()
    page.keyboard.press("Enter")  # all of it works without a mouse
    page.wait_for_selector("text=Packets of flow 1")
    packets = page.locator('[aria-label="Packets"] tbody')
    packets.locator("text=no payload").first.wait_for()
    packets.locator("button.open").first.click()
    page.wait_for_selector('[data-testid="hex"]')
    assert "confidence" in page.locator('[aria-label="Reason"] [role=heading]').inner_text()
    assert page.locator('[data-testid="hex"] span.b[style]').count() > 5
    assert page.locator('[data-testid="fields"]').inner_text()
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1], "the page is wider than the screen"


def test_a_running_watch_and_the_models(page: Any, paged: Any) -> None:
    page.click("nav >> text=Live")
    page.wait_for_selector("h1:text-is('Live traffic')")
    events = lines(event(1, "SFTP"), event(2, "Skype", state="early"))
    answer = httpx.post(
        f"{paged.url}/api/v1/live/events", content=events, headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert answer.json()["accepted"] == 2
    page.wait_for_selector('[data-testid="live-flows"] >> text=SFTP')
    assert "Skype" in page.locator('[data-testid="live-flows"]').inner_text()

    page.click("nav >> text=Models")
    page.wait_for_selector("h1:text-is('Models')")
    assert "Voipbuster" in page.locator('[aria-label="iscx"]').inner_text()


def test_a_refused_upload_is_told(page: Any) -> None:
    page.set_input_files(
        "input[type=file]", {"name": "empty.pcap", "mimeType": "application/octet-stream", "buffer": b"text"}
    )
    page.wait_for_url("**/jobs/*")
    told = page.locator("[role=alert]").first.inner_text()
    assert told.startswith("This job failed: empty.pcap: not a capture")
    assert page.locator('[aria-label="Flows"]').count() == 0


def test_light_or_dark_is_kept_by_the_browser(page: Any) -> None:
    is_dark = "document.body.classList.contains('body--dark')"
    before = page.evaluate(is_dark)

    def assert_soon(wanted: bool) -> None:
        page.wait_for_function(f"{is_dark} === {str(wanted).lower()}")
        assert page.evaluate(is_dark) is wanted

    page.click('[aria-label="Light or dark"]')
    assert_soon(not before)
    page.reload()
    page.wait_for_selector(".drop")
    assert_soon(not before)
    page.click('[aria-label="Light or dark"]')
    assert_soon(before)
