"""A plain knitted jumper: a turned shell from the neck over the shoulders, with a ribbed collar band."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bpy  # type: ignore[import-not-found]
import numpy as np
from kit import Floats, Head
from scene import add_mesh

RIB = 0.314 * 200 / 160  # u per column: Blender's wave repeats every pi/10, and 200 ribs go round
SHOULDER = 18.0  # half width, kit cm


def _bezier(points_4N3: Floats, t: float) -> Floats:
    a, b, c, d = points_4N3
    return np.asarray((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)


def collar_ring(around: Floats) -> Floats:
    """Where collar and body meet, [N, 3]; around is 0 at the front, growing to the person's left."""
    x = 5.95 * np.sin(around)
    z = np.where(np.cos(around) > 0, 6.9, 6.0) * np.cos(around) - 1.9
    y = -11.0 - 2.0 * np.cos(around) - 0.5 * np.cos(around) ** 2
    return np.stack([x, y, z], axis=1)


def cut_below_collar(head: Head) -> Head:
    """The head without the faces that the jumper hides."""
    x, y, z = head.vertices_V3.T
    around = np.arctan2(x, z + 1.9)
    hidden = (y < collar_ring(around)[:, 1] - 0.7) & (y < -8)
    faces = [face for face in head.faces if not hidden[list(face)].any()]
    return replace(head, faces=faces)


def add_jumper(material: Any, rib: Any, columns: int = 160, rows: int = 40) -> None:
    """Body of the jumper in `material`, collar band in `rib`."""
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    ring = collar_ring(around)
    side = np.abs(np.sin(around))[:, None] ** 1.4
    front = np.sign(np.cos(around))[:, None]
    sign = np.sign(np.sin(around))[:, None]

    def blend(at_side: tuple[float, float, float], at_front: tuple[float, float, float]) -> Floats:
        lateral = np.hstack([sign * at_side[0], np.full_like(side, at_side[1]), np.full_like(side, at_side[2])])
        across, ahead = np.sin(around)[:, None] * at_front[0], front * at_front[2] - 1.5
        frontal = np.hstack([across, np.full_like(side, at_front[1]), ahead])
        return np.asarray(side * lateral + (1 - side) * frontal)

    first = blend((12.0, -12.5, -1.5), (9.0, -15.5, 7.8))
    second = blend((SHOULDER + 2.0, -12.3, -1.5), (14.0, -19.5, 10.5))
    last = blend((SHOULDER, -34.0, -1.0), (18.0, -36.0, 10.5))
    t_rows = np.linspace(0, 1, rows) ** 1.15
    body = np.stack([_bezier(np.stack([ring, first, second, last]), float(t)) for t in t_rows])
    # the hollow between chest and arm
    hollow = np.exp(-(((np.degrees(np.arccos(np.cos(around))) - 61) / 8) ** 2)) * np.clip(
        (t_rows[:, None] - 0.42) / 0.35, 0, 1
    )
    body[..., 2] -= 1.5 * hollow
    _add_grid("jumper", body, material)

    # a band rolled round the neck: an ellipse of 1.5 x 0.55 cm swept along the ring
    turn = np.linspace(0, 2 * np.pi, 17)[:-1]
    outwards = np.stack([np.sin(around), np.zeros_like(around), np.cos(around)], axis=1)
    upwards = np.array([0.0, 1.0, 0.0]) - 0.35 * outwards
    band = np.stack([ring + 0.42 * np.cos(a) * outwards + (0.45 + 0.95 * np.sin(a)) * upwards for a in turn])
    _add_grid("collar", np.concatenate([band, band[:1]]), rib)


def _add_grid(name: str, grid_RC3: Floats, material: Any) -> None:
    rows, columns, _ = grid_RC3.shape
    faces = [
        (i * columns + j, (i + 1) * columns + j, (i + 1) * columns + (j + 1) % columns, i * columns + (j + 1) % columns)
        for i in range(rows - 1)
        for j in range(columns)
    ]
    thing = add_mesh(name, grid_RC3.reshape(-1, 3), faces, material, levels=1)
    uv_layer = thing.data.uv_layers.new(name="front")
    uv = np.empty((len(faces), 4, 2))
    for k, (di, dj) in enumerate(((0, 0), (1, 0), (1, 1), (0, 1))):
        index = np.arange(len(faces))
        uv[:, k, 0] = (index % columns + dj) * RIB
        uv[:, k, 1] = (index // columns + di) * 0.1
    uv_layer.data.foreach_set("uv", uv.astype(np.float32).reshape(-1))
    bpy.context.view_layer.update()


def add_earrings(head: Head, material: Any) -> None:
    """A small gold stud on each ear lobe."""
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, 32, endpoint=False), np.linspace(0, np.pi, 17))
    ball = np.stack([np.sin(down) * np.cos(around), np.cos(down), np.sin(down) * np.sin(around)], axis=-1)
    above_neck = head.vertices_V3[head.vertices_V3[:, 1] > -4]
    for side in (-1.0, 1.0):
        ear = above_neck[above_neck[:, 0] * side > 0.81 * np.abs(above_neck[:, 0]).max()]
        lobe = ear[np.argsort(ear[:, 1])[:12]]
        centre = lobe.mean(axis=0)
        centre[1] += 0.25
        centre[2] = lobe[:, 2].max() + 0.12
        _add_grid("stud", centre + 0.27 * ball, material)
