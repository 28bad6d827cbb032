"""The machine's own Chromium, for tests of what a person sees: it is sent nowhere but to this machine."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_WORDS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
_SCHEMES = ("file", "data", "blob", "about")
_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass
class Visit:
    """A browser page, and what went wrong on it."""

    page: Any
    """Playwright's page."""
    errors: list[str] = field(default_factory=list)
    """Errors of the console, and exceptions that no script caught."""
    foreign: list[str] = field(default_factory=list)
    """Addresses outside this machine that were asked for; none was answered."""

    def shot(self, path: Path, *, whole: bool = False) -> Path:
        """Save a picture of what is seen, or of the whole page."""
        self.page.screenshot(path=path, full_page=whole)
        return path


def chromium() -> str:
    """Path of the browser; where there is none, or nothing to drive it with, the test is skipped."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    return found


@contextmanager
def started() -> Iterator[Any]:
    """A new browser, which is closed at the end."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_WORDS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visited(
    browser: Any, *, width: int = 1280, height: int = 900, touch: bool = False, scripts: bool = True
) -> Iterator[Visit]:
    """A page that knows of no other; only this machine and its files answer it.

    Args:
        browser: As started.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        touch: Whether it has a screen to be touched.
        scripts: Whether pages may run any.
    """
    viewport = {"width": width, "height": height}
    context = browser.new_context(
        viewport=viewport, service_workers="block", has_touch=touch, java_script_enabled=scripts
    )
    try:
        visit = Visit(context.new_page())
        context.route("**/*", lambda route: _answer(route, visit.foreign))
        visit.page.on("console", lambda said: visit.errors.append(said.text) if said.type == "error" else None)
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        yield visit
    finally:
        context.close()


def is_local(address: str) -> bool:
    """Whether an address is on this machine."""
    parts = urlsplit(address)
    return parts.scheme in _SCHEMES or parts.hostname in _HOSTS


def _answer(route: Any, foreign: list[str]) -> None:
    if is_local(route.request.url):
        route.continue_()
    else:
        foreign.append(route.request.url)
        route.abort()
