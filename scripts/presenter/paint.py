"""The presenter's skin, painted as pictures that are projected on the head from the front.

Pictures are float [H, W, ...] in 0..1, sRGB; row 0 is the top. `Canvas` maps kit centimetres to pixels. Everything is
drawn from the landmarks of our own sculpted head, smooth noise and hand-chosen colours; no photograph is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from kit import LID_LOWER, LID_UPPER, LIP_INNER, LIP_OUTER, Floats, Head
from PIL import Image, ImageDraw
from scipy.interpolate import splev, splprep
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates


@dataclass(frozen=True)
class Canvas:
    """The square window [left, left+size] x [bottom, bottom+size] cm, `pixels` wide."""

    left: float = -18.0
    bottom: float = -20.0
    size: float = 36.0
    pixels: int = 1536

    def grid(self) -> tuple[Floats, Floats]:
        """x and y [H, W] of the pixel centres, cm."""
        step = self.size / self.pixels
        x = self.left + (np.arange(self.pixels) + 0.5) * step
        y = self.bottom + self.size - (np.arange(self.pixels) + 0.5) * step
        return np.meshgrid(x, y)

    def to_pixels(self, xy_N2: Floats) -> Floats:
        """cm -> pixel coordinates, y down."""
        scale = self.pixels / self.size
        return np.stack([(xy_N2[:, 0] - self.left) * scale, (self.bottom + self.size - xy_N2[:, 1]) * scale], axis=1)

    def signed_distance(self, loop_N2: Floats) -> Floats:
        """cm to a closed loop, positive inside."""
        mask = Image.new("L", (self.pixels, self.pixels))
        ImageDraw.Draw(mask).polygon([tuple(p) for p in self.to_pixels(loop_N2)], fill=255)
        inside = np.asarray(mask) > 127
        distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
        return np.asarray(gaussian_filter(distance, 1.0) * self.size / self.pixels)


def smooth_loop(points_N2: Floats, count: int = 240, smoothing: float = 0.01) -> Floats:
    """A closed spline [count, 2] near the points."""
    closed = np.vstack([points_N2, points_N2[:1]])
    curve, _ = splprep(closed.T, s=smoothing, per=True)
    return np.stack(splev(np.linspace(0, 1, count, endpoint=False), curve), axis=1)


def smooth_line(points_N: Floats, count: int, smoothing: float = 0.0) -> Floats:
    """An open spline [count, ...] through the points."""
    curve, _ = splprep(points_N.T, s=smoothing)
    return np.stack(splev(np.linspace(0, 1, count), curve), axis=1)


def noise(canvas: Canvas, rng: np.random.Generator, scale_cm: float) -> Floats:
    """Smooth noise with features of about `scale_cm`, mean 0, standard deviation 1."""
    pixel = canvas.size / canvas.pixels
    coarse = max(1, int(scale_cm / pixel / 3))
    side = canvas.pixels // coarse + 3
    field = gaussian_filter(rng.standard_normal((side, side)), max(scale_cm / pixel / coarse / 2.2, 0.6))
    rows, columns = np.mgrid[0 : canvas.pixels, 0 : canvas.pixels] / coarse + 1
    field = map_coordinates(field, [rows, columns], order=1)
    return np.asarray((field - field.mean()) / field.std())


def step(value: Floats, low: float, high: float) -> Floats:
    """Smooth 0 to 1 between `low` and `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def tint(picture: Floats, colour: tuple[float, float, float], amount: Floats) -> None:
    """Move `picture` [H, W, 3] towards `colour` by `amount` [H, W], in place."""
    picture += (np.array(colour) - picture) * np.clip(amount, 0, 1)[..., None]


def skin_maps(head: Head, canvas: Canvas, seed: int) -> dict[str, Floats]:
    """`colour` [H, W, 3], `height` [H, W] (cm x 10, for the bump), `rough` [H, W] and `lips` [H, W] in 0..1."""
    rng = np.random.default_rng(seed)
    x, y = canvas.grid()
    marks = head.marks_N3

    def blob(cx: float, cy: float, rx: float, ry: float) -> Floats:
        return np.asarray(np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2))

    def pair(mark: int, dx: float, dy: float, rx: float, ry: float) -> Floats:
        cx, cy = abs(marks[mark, 0]) + dx, marks[mark, 1] + dy
        return blob(cx, cy, rx, ry) + blob(-cx, cy, rx, ry)

    colour = np.empty((*x.shape, 3))
    colour[:] = (0.862, 0.668, 0.565)
    tint(colour, (0.880, 0.700, 0.580), 0.5 * blob(0, marks[10, 1] - 1.5, 7, 3))  # a paler, yellower forehead
    tint(colour, (0.800, 0.600, 0.510), 0.45 * step(marks[152, 1] + 0.5 - y, 0, 4))  # the neck
    cheek = pair(50, 0.2, 0.1, 2.6, 2.0)
    tint(colour, (0.860, 0.500, 0.440), 0.28 * cheek)
    tint(colour, (0.840, 0.500, 0.430), 0.34 * blob(0, marks[1, 1], 1.5, 1.1))
    tint(colour, (0.845, 0.540, 0.460), 0.22 * blob(0, marks[152, 1] + 1.4, 1.6, 1.2))
    tint(colour, (0.840, 0.520, 0.450), 0.5 * step(np.abs(x) - 7.6, 0, 1.0) * step(6 - np.abs(y - 1.5), 0, 2))  # ears
    for eye in range(2):
        cx, cy = head.eye_centre_23[eye, :2]
        tint(colour, (0.700, 0.480, 0.430), 0.28 * blob(cx, cy, 2.6, 1.7))
        tint(colour, (0.640, 0.410, 0.360), 0.30 * blob(cx + 0.35 * np.sign(cx), cy + 0.95, 1.8, 0.55))

    tint(colour, (0.78, 0.46, 0.40), 0.035 * np.clip(noise(canvas, rng, 1.6), 0, 3))
    colour *= 1 + 0.007 * noise(canvas, rng, 0.5)[..., None] + 0.008 * noise(canvas, rng, 0.16)[..., None]

    # freckles: few, faint, over nose and cheeks only
    freckle = np.zeros_like(x)
    for _ in range(150):
        fx, fy = rng.normal(0, 3.0), rng.normal(marks[1, 1] + 1.2, 0.9)
        size = rng.uniform(0.03, 0.065)
        freckle += rng.uniform(0.15, 0.6) * np.exp(-(((x - fx) ** 2 + (y - fy) ** 2) / size**2))
    tint(colour, (0.62, 0.38, 0.28), 0.30 * np.clip(freckle, 0, 1))

    # lips: a clear border, darker towards the line of the mouth
    outer = canvas.signed_distance(smooth_loop(marks[LIP_OUTER, :2]))
    between = smooth_line(marks[LIP_INNER[:11], :2], 80)
    line = np.abs(y - np.interp(x, between[:, 0], between[:, 1]))
    lips = step(outer, -0.03, 0.13)
    tint(colour, (0.765, 0.405, 0.385), 0.82 * lips)
    tint(colour, (0.560, 0.220, 0.220), 0.55 * lips * np.exp(-((line / 0.22) ** 2)))
    tint(colour, (0.880, 0.520, 0.490), 0.35 * lips * blob(0, marks[14, 1] - 0.55, 1.0, 0.3))
    tint(colour, (0.930, 0.740, 0.640), 0.30 * step(outer, -0.30, -0.10) * (1 - lips))  # the pale rim round them
    corner = blob(marks[61, 0], marks[61, 1], 0.22, 0.16) + blob(marks[291, 0], marks[291, 1], 0.22, 0.16)
    tint(colour, (0.50, 0.24, 0.22), 0.45 * corner)

    # lids: a soft dark lash line and shade towards the outer corner; wet pink inside corner
    for eye in range(2):
        upper = smooth_line(marks[LID_UPPER[eye], :2], 120)
        lower = smooth_line(marks[LID_LOWER[eye], :2], 120)
        rim = canvas.signed_distance(np.vstack([upper, lower[::-1]]))
        above = y > np.interp(x, *_ordered(upper)) - 0.12
        tint(colour, (0.17, 0.09, 0.08), 0.80 * step(rim, -0.17, -0.02) * above)
        tint(colour, (0.45, 0.26, 0.23), 0.40 * step(rim, -0.13, -0.01) * ~above)
        inner_corner = marks[LID_UPPER[eye][-1]]
        tint(colour, (0.83, 0.45, 0.43), 0.65 * blob(inner_corner[0], inner_corner[1], 0.20, 0.16))

    # brow bed below the strands
    for eye in range(2):
        bed = gaussian_filter(step(canvas.signed_distance(brow_loop(head, eye)), -0.12, 0.15), 7)
        inner_end = abs(marks[BROW_HIGH[eye][0], 0])
        tint(colour, (0.36, 0.23, 0.18), 0.36 * bed * step(np.abs(x) - inner_end, -0.3, 1.0))

    nostril = pair(98, -0.62, 0.0, 0.42, 0.22)
    tint(colour, (0.45, 0.22, 0.19), 0.55 * nostril)

    pores = 0.6 * noise(canvas, rng, 0.09) + 0.5 * noise(canvas, rng, 0.05)
    wrinkle = gaussian_filter(rng.standard_normal(x.shape), (16, 1.6))
    wrinkle /= wrinkle.std()
    height = pores * 0.007 * (1 - lips) * (1 + 0.6 * cheek) + wrinkle * 0.045 * lips * step(outer, 0.0, 0.25)
    rough = 0.50 - 0.07 * blob(0, marks[10, 1] - 2.5, 3, 3) - 0.09 * blob(0, marks[1, 1] + 0.8, 0.9, 2) - 0.13 * lips
    return {"colour": np.clip(colour, 0, 1), "height": height, "rough": np.clip(rough, 0, 1), "lips": lips}


def _ordered(line_N2: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(line_N2[:, 0])
    return line_N2[order, 0], line_N2[order, 1]


# pairs from the nose side outwards; the first one's lower point lies too low and inward for a brow's head
BROW_LOW = [[55, 65, 52, 53, 46], [285, 295, 282, 283, 276]]
BROW_HIGH = [[107, 66, 105, 63, 70], [336, 296, 334, 293, 300]]


def brow_rails(head: Head, eye: int, count: int) -> tuple[Floats, Floats]:
    """Lower and upper edge of a brow [count, 2] cm, from the nose side outwards; thin towards the tail."""
    low, high = head.marks_N3[BROW_LOW[eye], :2], head.marks_N3[BROW_HIGH[eye], :2]
    share = np.array([0.38, 0.42, 0.42, 0.45, 0.5])[:, None]
    middle = smooth_line(low * share + high * (1 - share), count)
    t = np.linspace(0, 1, count)
    middle[:, 1] -= 0.26 - 0.12 * np.sin(np.pi * t**1.3)
    half = 0.30 * (0.62 + 0.38 * step(t, 0.0, 0.22)) * (1 - 0.80 * t**1.7)
    offset = np.stack([np.zeros(count), half], axis=1)
    return middle - offset, middle + offset


def brow_loop(head: Head, eye: int) -> Floats:
    """The outline of a brow [120, 2] cm."""
    low, high = brow_rails(head, eye, 60)
    return np.vstack([low, high[::-1]])


def iris_map(seed: int, pixels: int = 1024, reach: float = 2.6) -> npt.NDArray[np.float64]:
    """Eye front [H, W, 3] seen along its axis; the iris edge is at radius 1/reach of the half width."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(pixels) + 0.5) / pixels * 2 - 1
    gx, gy = np.meshgrid(axis, -axis)
    r = np.hypot(gx, gy) * reach  # 1 at the iris edge
    angle = np.arctan2(gy, gx)

    def fibres(count: int, radial: float) -> Floats:
        table = gaussian_filter(rng.standard_normal((count, 64)), (0.7, radial), mode=("wrap", "nearest"))
        table /= table.std()
        rows = (angle / (2 * np.pi) + 0.5) * count
        return np.asarray(map_coordinates(table, [rows, np.clip(r, 0, 1) * 63], order=1, mode="grid-wrap"))

    picture = np.empty((pixels, pixels, 3))
    picture[:] = (0.885, 0.860, 0.845)
    tint(picture, (0.84, 0.70, 0.66), 0.55 * step(r, 1.35, 2.6))
    veins = np.abs(gaussian_filter(rng.standard_normal((pixels, pixels)), 7))
    tint(picture, (0.80, 0.45, 0.42), 0.16 * step(r, 1.5, 2.4) * np.exp(-((veins / (0.10 * veins.std())) ** 2)))

    iris = np.empty_like(picture)
    iris[:] = (0.335, 0.300, 0.185)
    fine, broad = fibres(220, 9.0), fibres(70, 6.0)
    tint(iris, (0.560, 0.470, 0.280), 0.45 * np.clip(0.5 + 0.5 * fine, 0, 1) * step(r, 0.40, 0.62))
    tint(iris, (0.470, 0.270, 0.120), 0.85 * step(0.66 + 0.05 * broad - r, 0, 0.16))  # amber round the pupil
    tint(iris, (0.640, 0.420, 0.200), 0.35 * np.clip(fine, 0, 1) * step(0.62 - r, 0, 0.1))
    iris *= 1 + 0.13 * broad[..., None]
    tint(iris, (0.070, 0.055, 0.050), 0.88 * step(r + 0.02 * broad, 0.80, 1.0))  # limbal ring
    tint(iris, (0.012, 0.010, 0.010), step(0.40 + 0.008 * fine - r, 0, 0.04))  # pupil
    amount = step(1.03 - r, 0, 0.09)[..., None]
    return np.clip(picture + (iris - picture) * amount, 0, 1)
