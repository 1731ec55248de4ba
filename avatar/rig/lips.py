"""The lips of one rig: how they open, that they never cross, and how they close exactly."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.space import INDEX
from avatar.rig import kernels, mesh
from avatar.rig.contact import gap, meet, smoothstep
from avatar.rig.mouth import LINING_ROWS
from avatar.rig.spread import biharmonic
from avatar.rig.types import FittedRig, Part

F32 = NDArray[np.float32]

REACH: Final = 10
"""Edges from the mouth ring that lip contact moves."""
CORNER_POWER: Final = 0.75
"""Opening along the lips, at most: largest opening * (4 t (1 - t)) ** CORNER_POWER, t = 0..1 corner to corner."""
ROUND_POWER: Final = 2.5
"""Added to it at full pucker (half at full funnel): rounded lips open in the middle only."""
SMOOTH_OPEN: Final = 0.05
"""Opening, in face widths, from which the lips' lines are plain arcs."""
UPPER_ARC: Final = 0.3
"""How far the upper lip's line becomes an arc; the lower one's does so wholly."""
UPPER_LINING: Final = 0.4
"""The upper lip shows this much of its lining, the lower lip all: we look at it from above."""
BITE_HIDDEN: Final = 0.004
"""Face widths of the upper teeth's edge that the lower lip covers in F and V."""
BITE_SHOWN: Final = 0.018
"""Face widths of the upper teeth that F and V show above their edge."""
SEAL_JAW: Final = 0.03
"""mouthClose is measured against jawOpen, but against no less than this (M, B and P hardly open the jaw)."""
LIKENESS: Final = 0.08
"""Squared distance of mouth channels over which a closed mouth gives up its own small differences."""

_MOUTH: Final = np.array([INDEX[n] for n in space.ARKIT_NAMES if n.startswith(("mouth", "jaw"))])
_CLOSE, _JAW = INDEX["mouthClose"], INDEX["jawOpen"]
_PUCKER, _FUNNEL = INDEX["mouthPucker"], INDEX["mouthFunnel"]
_PRESS: Final = (INDEX["mouthPressLeft"], INDEX["mouthPressRight"])
_ROLL: Final = (INDEX["mouthRollUpper"], INDEX["mouthRollLower"])
_ANGLE = np.linspace(0.0, 0.85 * np.pi, LINING_ROWS)
_SIN: Final = np.sin(_ANGLE).astype(np.float32)[:, None, None]
_COS: Final = np.cos(_ANGLE).astype(np.float32)[:, None, None]


def lip_seal(motion_D: NDArray[Any]) -> float:
    """0..1: how far the lips are pressed together whatever the other channels say.

    1 when mouthClose >= 0.9 * max(jawOpen, 0.03), when both mouthPress >= 0.3, or when both mouthRoll >= 0.8.
    """
    closed = float(motion_D[_CLOSE]) / max(float(motion_D[_JAW]), SEAL_JAW)
    press = min(float(motion_D[k]) for k in _PRESS)
    roll = min(float(motion_D[k]) for k in _ROLL)
    return max(smoothstep(0.4, 0.9, closed), smoothstep(0.12, 0.3, press), smoothstep(0.4, 0.8, roll))


def labiodental(channels_K: NDArray[Any], seal: float) -> float:
    """0..1: how far the lower lip rests on the upper teeth (F, V): rolled in alone, with the jaw hardly open."""
    lower, upper = (float(channels_K[k]) for k in _ROLL[::-1])
    alone = (1.0 - smoothstep(0.2, 0.45, upper)) * (1.0 - smoothstep(0.2, 0.4, float(channels_K[_JAW])))
    return smoothstep(0.25, 0.5, lower) * alone * (1.0 - seal)


class Lips:
    """Precomputed operators. Methods that take `skin_V3` change it in place."""

    def __init__(self, rig: FittedRig, down_2: F32) -> None:
        self._rig, self._down = rig, down_2
        self._upper, self._lower, self._ring = rig.lip_upper_L, rig.lip_lower_L, rig.mouth_ring_M
        near = mesh.rings_from(rig.triangles_T3, len(rig.rest_V3), self._ring) <= REACH
        self._spread = biharmonic(rig.neutral_V3, rig.triangles_T3, self._ring, near)
        line = rig.neutral_V3[self._upper, :2]
        along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
        t = along / along[-1]
        self._bow_L = np.asarray(4.0 * t * (1.0 - t), np.float32)
        self._arc_LL = _arc_fit(t)
        count = len(self._ring)
        around = np.r_[np.arange(count), 0]
        self._around_M, self._across_M = self._ring[around], self._ring[(-around) % count]
        is_upper = np.isin(self._ring, self._upper)
        self._lining_share_M1 = np.where(is_upper, UPPER_LINING, 1.0).astype(np.float32)[around, None]
        self._bite_L = self._biting_edge()
        self._bite_share_L = np.array([smoothstep(0.0, 0.8, float(b)) for b in self._bow_L], np.float32)
        self._into = np.ascontiguousarray(-rig.R_source_33[:, 2])
        self._source_gap = 0.0
        self._source_mouth = np.zeros(len(_MOUTH), np.float32)

    def remember(self, skin_V3: F32, channels_K: F32) -> None:
        """Note how far the linear model opens the lips at the portrait's own expression (for `share_of_source`)."""
        self._source_gap = self._mean_gap(skin_V3)
        self._source_mouth = channels_K[_MOUTH].copy()

    @property
    def open_in_source(self) -> bool:
        """Whether the portrait's lips are parted by its expression (see `remember`)."""
        return self._source_gap > 0.004 * self._rig.face_width

    def share_of_source(self, skin_V3: F32, channels_K: F32) -> float:
        """How much of the portrait's own deviation from the model to give back, before any contact.

        1 at the portrait's own expression. Where its lips are open the share goes with the opening; where they are
        closed, with likeness of the mouth's channels.
        """
        if self.open_in_source:
            return min(1.0, self._mean_gap(skin_V3) / self._source_gap)
        away = channels_K[_MOUTH] - self._source_mouth
        return float(np.exp(-float(away @ away) / LIKENESS))

    def round_opening(self, skin_V3: F32, channels_K: F32) -> None:
        """Taper the opening towards the corners, where the linear channels alone cut it off square; smooth the lines.

        An open lip rolls into a plain arc: the small bends of the closed line fade, in the lower lip entirely.
        """
        upper, lower = self._upper, self._lower
        opening = gap(skin_V3[upper], skin_V3[lower], self._down)
        most = float(opening.max())
        if most <= 0.0:
            return
        before = skin_V3[self._ring]
        ring = min(float(channels_K[_PUCKER] + 0.5 * channels_K[_FUNNEL]), 1.0)
        taper_L = self._bow_L ** np.float32(CORNER_POWER + ROUND_POWER * ring)
        half = 0.5 * np.maximum(opening - most * taper_L, 0.0)[:, None] * self._down
        skin_V3[upper, :2] += half
        skin_V3[lower, :2] -= half
        arc = smoothstep(0.0, SMOOTH_OPEN * self._rig.face_width, most)
        for line, share in ((upper, UPPER_ARC * arc), (lower, arc)):
            skin_V3[line, :2] += np.float32(share) * (self._arc_LL @ skin_V3[line, :2] - skin_V3[line, :2])
        self._carry(skin_V3, before)

    def touch(self, skin_V3: F32, seal: float, bite: float = 0.0) -> float:
        """Lips never cross, and meet as far as `seal` says. Returns the largest opening left, px.

        bite: how far (0..1) the lower lip meets the edge of the upper teeth instead, and the upper lip bares them.
        """
        upper, lower = self._upper, self._lower
        before = skin_V3[self._ring]
        if bite > 0.0:
            share = np.float32(bite) * self._bite_share_L
            bare = self._bite_L - np.float32(BITE_SHOWN * self._rig.face_width) * self._bite_share_L
            raised = bare - skin_V3[upper, :2] @ self._down
            met = self._bite_L - skin_V3[lower, :2] @ self._down
            skin_V3[upper, :2] += (share * raised)[:, None] * self._down
            skin_V3[lower, :2] += (share * met)[:, None] * self._down
        seal_L = np.full(len(upper), seal, np.float32)
        skin_V3[upper], skin_V3[lower] = meet(skin_V3[upper], skin_V3[lower], self._down, seal_L)
        self._carry(skin_V3, before)
        return max(float(gap(skin_V3[upper], skin_V3[lower], self._down).max()), 0.0)

    def lining(self, skin_V3: F32) -> tuple[F32, F32]:
        """The lips' wet lining, [rows * (M + 1), 3] px and normals: arcs from the ring into the opening and back.

        The last column repeats the first (the picture painted on it does not wrap).
        """
        ring = skin_V3[self._around_M]
        across = skin_V3[self._across_M] - ring
        across[:, 2] = 0.0
        length = np.sqrt(np.einsum("md,md->m", across, across))[:, None]
        width = np.float32(self._rig.face_width)
        radius = np.minimum(np.float32(0.16) * length, np.float32(0.018) * width) * self._lining_share_M1
        inward = across / np.maximum(length, np.float32(1e-3))
        back = (radius + np.float32(0.012) * width) * self._into
        rows = ring + _SIN * (radius * inward) + (1.0 - _COS) * back
        normals = _SIN * inward - _COS * self._into
        return rows.reshape(-1, 3), normals.reshape(-1, 3)

    def _biting_edge(self) -> F32:
        """Where the upper teeth's edge lies behind each pair of the lips, px along the face's down direction; [L]."""
        mouth, across = self._rig.mouth, np.array([self._down[1], -self._down[0]])
        rows = (mouth.part_P == Part.TEETH_UPPER) & (mouth.uv_P2[:, 1] == 1.0)
        edge = mouth.vertices_P3[rows, :2]
        lips = self._rig.neutral_V3[self._upper, :2]
        front = slice(len(edge) // 4, -(len(edge) // 4))  # further back the arch turns away
        curve = np.polynomial.Polynomial.fit(edge[front] @ across, edge[front] @ self._down, 2)
        line = curve(lips @ across) - BITE_HIDDEN * self._rig.face_width
        return np.asarray(line, np.float32)

    def _mean_gap(self, skin_V3: F32) -> float:
        return float(np.maximum(gap(skin_V3[self._upper], skin_V3[self._lower], self._down), 0.0).mean())

    def _carry(self, skin_V3: F32, ring_before_M3: F32) -> None:
        """The skin around goes along with what the ring has moved since `ring_before_M3`."""
        moved = skin_V3[self._ring] - ring_before_M3
        kernels.carry(skin_V3, self._spread.rows_N, self._spread.matrix_NH, moved)


def _arc_fit(t_L: NDArray[np.float64]) -> F32:
    """Matrix [L, L]: least-squares curve t (1 - t) * cubic between the ends of a line sampled at t."""
    powers = np.stack([t_L * (1 - t_L) * (2 * t_L - 1) ** k for k in range(4)], 1)
    ends = np.zeros((len(t_L), len(t_L)))
    ends[:, 0], ends[:, -1] = 1.0 - t_L, t_L
    return np.asarray(ends + powers @ np.linalg.pinv(powers) @ (np.eye(len(t_L)) - ends), np.float32)
