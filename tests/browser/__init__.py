"""What the page's tests share: a real Chromium, a small server that speaks the kiosk protocol, and a probe."""

from pathlib import Path

DIST = Path(__file__).resolve().parents[2] / "web" / "dist"
