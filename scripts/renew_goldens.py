"""Write the golden pictures of the decoder's tests anew, from the default presenter.

    python scripts/renew_goldens.py

Do it on purpose: look at the pictures (tests/goldens/render) and at `git diff --stat` before you commit them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from avatar.identity import load_identity
from avatar.render.decoder import Decoder
from scripts.contact_sheet import POSES, motion

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "goldens" / "render"
CHOSEN = ("neutral", "AA", "EE", "OO", "smile", "blink", "gaze left", "yaw -15", "pitch +10")
SIZE = 256


def main() -> int:
    """Render and write; returns the exit code."""
    decoder = Decoder(load_identity(), size=SIZE)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in CHOSEN:
        picture = decoder.render(motion(POSES[name]))
        path = FOLDER / f"{name.replace(' ', '_')}.jpg"
        if not cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
            print(f"{path} cannot be written.", file=sys.stderr)
            return 1
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
