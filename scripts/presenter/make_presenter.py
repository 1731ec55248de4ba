"""Make visavis' default presenter: a rendered face that is nobody.

    python scripts/presenter/make_presenter.py --ict DIR --out avatar/presenter/default.png

Run it with a Python that has Blender as a module: `pip install bpy==4.5.* scipy pillow` in an environment of its own
(Python 3.11; a tool, never a dependency of visavis). DIR holds ict_facekit.npz and mediapipe468_to_ict.npz.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import clothes
import numpy as np
import paint
import scene
import strands
from kit import Floats, load_head
from PIL import Image

SEED = 20
IRIS_REACH = 2.6
IRIS_RADIUS = 0.68  # cm at the kit's scale


def save(picture: Floats, path: Path) -> None:
    """Write 0..1 sRGB as an 8-bit PNG."""
    Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)).save(path)


def backdrop(size: int) -> Floats:
    """Soft gradient [size, size, 3] sRGB: lighter behind the head, a breath of grain against banding."""
    y, x = np.mgrid[0:size, 0:size] / size
    glow = np.exp(-(((x - 0.46) / 0.46) ** 2) - ((y - 0.40) / 0.48) ** 2)[..., None]
    far, near = np.array([0.520, 0.575, 0.610]), np.array([0.800, 0.825, 0.825])
    picture = far + (near - far) * glow
    grain = np.random.default_rng(SEED).normal(0, 0.0035, (size, size, 1))
    return np.asarray(picture + grain)


def render(ict: Path, out: Path, size: int, samples: int, threads: int) -> None:
    """Build the scene from the kit in `ict`, render it `size` px square and write it over the backdrop to `out`."""
    head = clothes.cut_below_collar(load_head(ict))
    canvas = paint.Canvas()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        maps = paint.skin_maps(head, canvas, SEED)
        save(maps["colour"], folder / "colour.png")
        save(0.5 + maps["height"] * 4, folder / "height.png")
        save(maps["rough"], folder / "rough.png")
        save(maps["lips"], folder / "lips.png")
        save(paint.iris_map(SEED, reach=IRIS_REACH), folder / "iris.png")

        stage = scene.empty_scene(size, samples, threads)
        skin = scene.add_head(head, canvas, scene.skin_material(folder, (0.020, 0.011, 0.007)))
        surface = scene.surface_of(skin)
        scene.add_eyes(head, scene.eye_material(folder), scene.cornea_material(), IRIS_REACH, IRIS_RADIUS)
        rng = np.random.default_rng(SEED)
        dark = scene.hair_material("brows", 0.74, 0.5, 0.2)
        scene.add_strands("brows", strands.brows(head, surface, rng), dark)
        black = scene.plain_material("lashes", (0.012, 0.007, 0.005), 0.6)
        lashes = scene.add_strands("lashes", strands.lashes(head, rng), black)
        lashes.visible_glossy = lashes.visible_shadow = False  # so that the catch-lights in the eyes stay whole
        brown = scene.hair_material("hair", 0.70, 0.65, 0.35)
        scene.add_strands("hair", strands.hair(surface, scene.SKULL, rng), brown)
        scene.add_strands("knot", strands.knot(rng), brown)
        teal = (0.020, 0.105, 0.120)
        clothes.add_jumper(scene.knit_material(teal, 0.12), scene.knit_material(teal, 0.3))
        clothes.add_earrings(head, scene.plain_material("gold", (0.72, 0.45, 0.18), 0.25, 0.9))
        scene.add_light_and_camera(stage)
        rgba = scene.shoot(stage, folder / "render.png")
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    save(colour * alpha + backdrop(size) * (1 - alpha), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ict", type=Path, required=True, help="folder with ict_facekit.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    choice = parser.parse_args()
    render(choice.ict, choice.out, choice.size, choice.samples, choice.threads)


if __name__ == "__main__":
    main()
