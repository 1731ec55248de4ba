"""The pictures in docs/images: contact sheets, a clip's frames, and the page in a conversation.

    python -m scripts.docs_pictures [--painting FILE] [--before CHECKOUT]

Only the default presenter, the NASA portrait of scikit-image and paintings: never photographs of other people.
Look at what it makes before committing it.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import skimage.data

from tests.browser.chromium import browser, open_page
from tests.browser.server import RunningVisavis

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "images"
QUESTION = "When are you open on Sunday?"
PHONE = {"width": 390, "height": 844}


def run(*command: str) -> None:
    """Run one of our own commands with this interpreter."""
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def sheets(painting: Path | None, before: Path | None, folder: Path) -> None:
    """Poses and mouths of up to three portraits, and a clip's frames."""
    nasa = folder / "nasa.png"
    cv2.imwrite(str(nasa), cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR))
    portraits = {"presenter": "default", "nasa": str(nasa)} | ({"painting": str(painting)} if painting else {})
    for name, portrait in portraits.items():
        png = folder / f"{name}_sheet.png"
        run("scripts/contact_sheet.py", portrait, "--out", str(png), "--part", "face")
        keep(png, f"{name}_sheet.jpg", width=1600)
    if before:
        png = folder / "before.png"
        run(
            "scripts/contact_sheet.py", "default", str(nasa), "--before", str(before), "--part", "mouth",
            "--out", str(png),
        )  # fmt: skip
        keep(png, "mouth_before_after.jpg", width=1600)
    clip = folder / "clip.mp4"
    run(
        "-m",
        "agent",
        "render",
        "--text",
        "Hello! Welcome to the museum. What would you like to know?",
        "--out",
        str(clip),
    )
    strip = folder / "strip.png"
    run("scripts/contact_sheet.py", "--clip", str(clip), "--out", str(strip), "--every", "4", "--count", "24")
    keep(strip, "clip_strip.jpg", width=1600)


def keep(png: Path, name: str, *, width: int) -> None:
    """Save as a JPEG of at most `width` px."""
    image = cv2.imread(str(png))
    scale = min(1.0, width / image.shape[1])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(OUT / name), image, [cv2.IMWRITE_JPEG_QUALITY, 88])


async def pages(folder: Path) -> None:
    """The page while the avatar answers, at desktop and phone width."""
    with RunningVisavis("run", "--port", "0") as kiosk:
        for name, viewport in (("page", None), ("page_phone", PHONE)):
            async with browser() as running:
                link = await asyncio.to_thread(kiosk.next_link)
                page, errors = await open_page(running, link, viewport=viewport)
                await page.get_by_role("button", name="Start").click()
                await page.wait_for_selector("#captions .avatar", timeout=60_000)
                await page.wait_for_timeout(6000)
                await page.get_by_role("textbox").fill(QUESTION)
                await page.keyboard.press("Enter")
                await page.wait_for_timeout(3500)
                shot = folder / f"{name}.png"
                await page.screenshot(path=shot)
                assert not errors, errors
                keep(shot, f"{name}.jpg", width=1280)
                await page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--painting", type=Path, help="a painting in the public domain")
    parser.add_argument("--before", type=Path, help="a checkout of an older version, for the mouths before and after")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sheets(arguments.painting, arguments.before, Path(folder))
        asyncio.run(pages(Path(folder)))


if __name__ == "__main__":
    main()
