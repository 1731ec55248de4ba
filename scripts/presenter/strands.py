"""Hair as curves: brows, lashes and the swept-back hair, grown on the surface of the sculpted head.

A `Strands` holds N curves of P points, kit centimetres; radii in cm. `Surface` answers where a ray meets the skin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from kit import LID_LOWER, LID_UPPER, Floats, Head
from paint import brow_rails, smooth_line

Surface = Callable[[Floats, Floats], Floats | None]
"""(origin [3], direction [3]) -> first hit [3] or None."""


@dataclass
class Strands:
    points_NP3: Floats
    radius_NP: Floats


def taper(count: int, points: int, root: float, tip: float, power: float = 1.0) -> Floats:
    t = np.linspace(0, 1, points) ** power
    return np.broadcast_to(root + (tip - root) * t, (count, points)).copy()


def from_front(surface: Surface, xy: Floats) -> Floats | None:
    return surface(np.array([xy[0], xy[1], 40.0]), np.array([0.0, 0.0, -1.0]))


def brows(head: Head, surface: Surface, rng: np.random.Generator, count: int = 300, points: int = 7) -> Strands:
    """Short hairs that lie along the brow: upright at the nose, then outwards, the tail a little downwards."""
    curves = []
    for eye in range(2):
        low, high = brow_rails(head, eye, 100)
        outwards = -1.0 if eye == 0 else 1.0
        for _ in range(count):
            t = rng.beta(1.05, 1.1)
            across = rng.uniform(0.45 * max(0.0, 1 - t / 0.12), 1.0 - 0.3 * max(0.0, 1 - t / 0.12))
            index = int(t * 92)
            root = low[index] + (high[index] - low[index]) * across
            along = high[min(index + 6, 99)] + low[min(index + 6, 99)] - high[index] - low[index]
            along /= np.linalg.norm(along)
            lift = 0.85 * (1 - t) ** 2.2 + 0.35 * (0.45 - across) * (1 - 0.5 * t)
            direction = along + np.array([0.0, 1.0]) * lift + rng.normal(0, 0.10, 2)
            root = root + along * rng.normal(0, 0.08)
            direction[0] = outwards * abs(direction[0])
            direction /= np.linalg.norm(direction)
            length = rng.uniform(0.55, 0.85) * (0.72 if t < 0.12 else 1.0) * (1 - 0.35 * t)
            bend = along - direction
            curve = []
            for s in np.linspace(0, 1, points):
                hit = from_front(surface, root + length * (s * direction + 0.45 * s * s * bend))
                if hit is None:
                    break
                curve.append(hit + np.array([0, 0, 0.02 + 0.05 * np.sin(np.pi * min(s, 0.9))]))
            if len(curve) == points:
                curves.append(curve)
    array = np.array(curves)
    return Strands(array, taper(len(array), points, 0.021, 0.005, 1.4))


def lashes(head: Head, rng: np.random.Generator, points: int = 8) -> Strands:
    """Upper lashes curl out and up and fan to the sides; lower ones are short and sparse."""
    curves, radii = [], []
    for eye in range(2):
        centre = head.eye_centre_23[eye]
        out = -1.0 if eye == 0 else 1.0
        for rows, number, size, up in ((LID_UPPER, 120, 0.46, 1.0), (LID_LOWER, 50, 0.20, -0.8)):
            line = smooth_line(head.marks_N3[rows[eye]], 200)
            for i in range(number):
                t = (i + rng.uniform(0, 1)) / number  # 0 outer corner, 1 inner
                if t > 0.93 or t < 0.01:
                    continue
                root = line[int(t * 199)] + rng.normal(0, 0.015, 3)
                root[1] += 0.02 * up
                radial = (root - centre) / np.linalg.norm(root - centre)
                fan = np.array([out * (0.85 - 1.35 * t), 0.0, 0.0])
                start = radial + 0.45 * fan + rng.normal(0, 0.035, 3)
                start[1] -= 0.10 * up
                start /= np.linalg.norm(start)
                length = size * (0.55 + 0.60 * np.sin(np.pi * (1 - t) ** 0.75) ** 0.8) * rng.uniform(0.75, 1.1)
                lift = np.array([0.25 * fan[0], 1.0 * up, 0.1])
                s = np.linspace(0, 1, points)[:, None]
                curves.append(root + length * (s * start + 0.62 * s**2 * lift))
                radii.append(np.linspace(0.019, 0.004, points) * (1.0 if up > 0 else 0.7))
    return Strands(np.array(curves), np.array(radii))


# Hairline: elevation (degrees above the skull centre's horizon) over azimuth (0 straight ahead, 180 behind).
HAIRLINE_AZIMUTH = np.array([0, 12, 22, 30, 38, 46, 54, 62, 70, 78, 84, 95, 112, 124, 140, 160, 180.0])
HAIRLINE_ELEVATION = np.array([30.5, 30.5, 29.5, 27.5, 22, 13, 5, -3, -11, -14, -3, 5, 4, -16, -34, -42, -44.0])
PART_AZIMUTH = -20.0  # the parting, on the person's right
SKULL_HALF_WIDTH = 7.45
GATHER = np.array([0.0, -0.42, -1.0])  # direction of the knot, behind and low


def hairline(azimuth: Floats) -> Floats:
    return np.interp(np.abs(azimuth), HAIRLINE_AZIMUTH, HAIRLINE_ELEVATION)


def hair(
    surface: Surface, centre: Floats, rng: np.random.Generator, count: int = 9000, points: int = 26, volume: float = 1.0
) -> Strands:
    """Side-parted hair swept back to a low knot: each strand is a bent great circle over the skull."""
    gather = GATHER / np.linalg.norm(GATHER)
    curves, radii = [], []
    part = np.radians(PART_AZIMUTH)
    tries = 0
    while len(curves) < count and tries < count * 8:
        tries += 1
        azimuth = rng.uniform(-150, 150)
        line = float(hairline(np.array(azimuth)))
        # most roots near the visible edge, the rest over the scalp
        elevation = line + (rng.exponential(9.0) if rng.random() < 0.55 else rng.uniform(0, 90 - line))
        if elevation > 89:
            continue
        edge = elevation - line
        if edge < 3.0 and rng.random() > 0.35 + 0.2 * edge:
            continue
        a, e = np.radians(azimuth), np.radians(elevation)
        root = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
        # the parting runs from the hairline straight back; each side is combed away from it
        line_x = np.sin(part)
        side = 1.0 if root[0] > line_x else -1.0
        away = abs(root[0] - line_x)
        front = np.clip(root[2] + 0.25, 0, 1)
        bend = root + side * np.array([1.05, -0.15, 0.0]) * front * np.clip(1.1 - away, 0, 1) * np.clip(root[2] / 0.5, 0, 1) + np.array([0, 0.25, -0.55])
        bend += rng.normal(0, 0.035, 3)
        bend /= np.linalg.norm(bend)
        end = gather + rng.normal(0, 0.07, 3)
        t = np.linspace(0, 1, points)[:, None]
        path = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * end
        path /= np.linalg.norm(path, axis=1, keepdims=True)
        layer = rng.uniform(0.25, 1.0)
        curve = np.empty((points, 3))
        ok = True
        for i in range(points):
            hit = surface(centre + path[i] * 30, -path[i])
            if hit is None:
                ok = False
                break
            hit[:] = centre + (hit - centre) * min(1.0, SKULL_HALF_WIDTH / max(abs(hit[0]), 1e-6))  # not over the ears
            s = i / (points - 1)
            valley = 0.35 + 0.65 * np.clip(abs(path[i, 0] - line_x) / 0.4, 0, 1) ** 0.7
            rise = valley * (1 - np.exp(-s * 14.0)) * (0.25 + 0.75 * volume * max(path[i, 1], 0.0) ** 0.8 + 0.35 * volume * abs(path[i, 0]))
            curve[i] = hit + path[i] * (0.03 + rise * layer * np.clip(0.45 + edge / 14, 0, 1))
        if not ok:
            continue
        wave = rng.normal(0, 0.03) * np.sin(np.linspace(0, rng.uniform(3, 7), points) + rng.uniform(0, 6))
        curve[:, 1] += wave * np.linspace(0, 1, points)
        curves.append(curve)
        thick = rng.uniform(0.75, 1.15) * (0.55 + 0.45 * min(edge / 4, 1.0))
        radii.append(np.linspace(0.030, 0.026, points) * thick)
    return Strands(np.array(curves), np.array(radii))
