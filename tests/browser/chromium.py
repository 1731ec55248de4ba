"""A real Chromium, headless, with a file as its microphone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.browser import DIST, probe

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


def need_page() -> None:
    """Skip on a machine without the means; CI has them."""
    if not (DIST / "index.html").is_file():
        pytest.skip("the page is not built: cd web && npm ci && npm run build")
    if chromium_path() is None:
        pytest.skip("no Chromium on this machine")


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@asynccontextmanager
async def browser(
    *, microphone_wav: Path | None = None, allow_microphone: bool = True, loop_microphone: bool = False
) -> AsyncIterator[Browser]:
    """Chromium whose microphone plays `microphone_wav` from the moment the page opens it."""
    args = ["--use-fake-device-for-media-stream", "--no-sandbox", "--allow-loopback-in-peer-connection"]
    args.append("--use-fake-ui-for-media-stream" if allow_microphone else "--deny-permission-prompts")
    if microphone_wav is not None:
        loop = "" if loop_microphone else "%noloop"
        args.append(f"--use-file-for-fake-audio-capture={microphone_wav}{loop}")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=chromium_path(),
            args=args,
            # Playwright mutes headless browsers; a muted one plays into nothing, but on the same clock.
            ignore_default_args=["--mute-audio"],
        )
        try:
            yield running
        finally:
            await running.close()


async def open_page(
    running: Browser,
    link: str,
    *,
    viewport: dict[str, int] | None = None,
    dark: bool = False,
    probed: bool = False,
    voice: bool = False,
) -> tuple[Page, list[str]]:
    """A new visitor at `link`. Returns the page and the list that its errors are written to.

    probed: with the probe in it. voice: with a microphone that `probe.speak_now` speaks into.
    """
    options: dict[str, Any] = {"viewport": viewport or DESKTOP, "color_scheme": "dark" if dark else "light"}
    context = await running.new_context(**options, bypass_csp=probed)
    if voice:
        await context.add_init_script(probe.VOICE)
    if probed:
        await context.add_init_script(probe.SCRIPT)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(link)
    return page, errors


async def until(page: Page, expression: str, within_s: float = 10) -> None:
    """Wait until it is true in the page. Playwright's own wait needs eval, which the page's policy forbids."""
    try:
        async with asyncio.timeout(within_s):
            while not await page.evaluate(expression):  # noqa: ASYNC110 - the page cannot set our event
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not true within {within_s} s: {expression}") from None
