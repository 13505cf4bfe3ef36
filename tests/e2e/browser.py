"""A real Chromium for the dashboard's tests: Debian's package, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

Screen = Literal["desktop", "phone"]
Scheme = Literal["light", "dark"]
SIZES: dict[Screen, dict[str, int]] = {
    "desktop": {"width": 1_280, "height": 860},
    "phone": {"width": 390, "height": 844},
}
PATIENCE_MS = 120_000
FINGER_PX = 40
PASSWORD = "correct horse battery"
_AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The path of a Chromium; skips without one, fails where VOLDESK_TEST_BROWSER says that there must be one."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = "no Chromium on this machine: apt-get install chromium"
        if os.environ.get("VOLDESK_TEST_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def started() -> Iterator[Browser]:
    path = chromium()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # as root, as CI runs, Chromium has no sandbox of its own
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Look:
    """One page of a browser that is logged in, on a screen; `complaints` is what the browser's console said."""

    def __init__(self, browser: Browser, url: str, state: Any, screen: Screen, scheme: Scheme = "light") -> None:
        self.url = url.rstrip("/")
        self.context: BrowserContext = browser.new_context(
            viewport=SIZES[screen],  # type: ignore[arg-type]
            storage_state=state,
            color_scheme=scheme,
            has_touch=screen == "phone",
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    def go(self, path: str) -> None:
        """Open a page, and mark it: whoever reloads it loses the mark."""
        self.page.goto(self.url + path, wait_until="load")
        self.page.evaluate("window.mark = true")

    @property
    def was_reloaded(self) -> bool:
        return not self.page.evaluate("window.mark === true")

    def overflow_px(self) -> int:
        """How much wider the page is than the screen."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wide

    def small_targets(self) -> list[str]:
        """Buttons, fields and what opens something that are lower than a finger is wide."""
        found: list[str] = self.page.evaluate(
            """least => [...document.querySelectorAll('button, a.button, select, input:not([type=hidden]), summary')]
                .filter(each => each.getBoundingClientRect().height > 0)
                .filter(each => each.getBoundingClientRect().height < least)
                .map(each => `${each.tagName} ${each.textContent.trim().slice(0, 30)}`)""",
            FINGER_PX,
        )
        return found

    def out_of_sight(self) -> list[str]:
        """Buttons of tables that one would have to scroll sideways for."""
        found: list[str] = self.page.evaluate(
            """() => {
                const right = (each) => each.getBoundingClientRect().right;
                return [...document.querySelectorAll('.scroll .act')]
                    .filter(each => right(each) > right(each.closest('.scroll')) + 1)
                    .map(each => each.textContent.trim());
            }"""
        )
        return found

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 A and AA, each with the elements."""
        self.page.evaluate(_AXE.read_text())
        found = self.page.evaluate(
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
        )
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
            for each in found["violations"]
        ]

    def confirm(self) -> None:
        """Press the button of the dialog, and see its outcome."""
        self.page.locator("#dialog button.primary").click()
        expect(self.page.locator("#dialog [role=status]")).to_be_visible()
        self.page.locator("#dialog [data-close]").click()
        expect(self.page.locator("#dialog")).to_be_hidden()
