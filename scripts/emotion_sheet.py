"""Look at the emotions: each on one portrait, at half and full strength, silent and speaking, as one labelled picture.

python -m scripts.emotion_sheet default --out docs/images/emotion_sheet.jpg
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.errors import AvatarError
from avatar.identity import load_identity
from avatar.motion import space
from avatar.motion.articulation import TARGET_UA, UNITS, to_motion
from avatar.motion.emotion import EMOTION_NAMES, express, weights
from avatar.render.decoder import Decoder
from scripts.contact_sheet import grid, labelled

U8 = NDArray[np.uint8]

SPOKEN: Final = ("AA", "IY", "UW", "B")
"""Phones that are shown, at the articulation's own targets."""
CELL: Final = 224


def phone(name: str) -> NDArray[np.float32]:
    """The frame of a phone held alone, float32 [52]."""
    return to_motion(TARGET_UA[UNITS.index(name)])


def sheet(portrait: str) -> U8:
    """One row per emotion: silent at half and full strength, then speaking; uint8 [H, W, 3]."""
    decoder = Decoder(load_identity(portrait))
    size, scale = decoder.size, decoder.size / decoder.rig.size
    centre = decoder.rig.rest_V3[decoder.rig.oval_ring, :2].mean(0) * scale
    half = 0.72 * decoder.rig.face_width * scale
    left, top = (int(max(0, c - half)) for c in centre)
    right, bottom = (int(min(size, c + half)) for c in centre)
    cells = []
    for name in EMOTION_NAMES:
        shots = [(f"{name} half", 0.5, space.neutral()), (name, 1.0, space.neutral())]
        shots += [(f"{name} {spoken}", 1.0, phone(spoken)) for spoken in SPOKEN]
        for label, strength, frame_D in shots:
            picture = decoder.render(express(frame_D, weights(name, strength)))[top:bottom, left:right]
            small = cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA)
            cells.append(labelled(np.asarray(small, np.uint8), label))
    return grid(cells, 2 + len(SPOKEN))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portrait", help="an image file, an identity, or 'default'")
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG to write")
    options = parser.parse_args(arguments)
    try:
        picture = sheet(options.portrait)
    except (AvatarError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if not cv2.imwrite(str(options.out), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88]):
        print(f"{options.out} cannot be written.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
