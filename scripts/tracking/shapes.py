"""From landmarks to ARKit weights: bounded, regularised least squares over all frames of a clip at once.

Shape suffixes: T frames, N = 468 landmarks, C fitted channels.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import mesh
from avatar.rig.basis import Basis

F64 = NDArray[np.float64]

PRIOR: Final[dict[str, float]] = {
    "jawOpen": 0.30, "mouthClose": 0.04, "mouthFunnel": 0.25, "mouthPucker": 0.45,
    "mouthSmileLeft": 0.30, "mouthSmileRight": 0.30, "mouthFrownLeft": 0.05, "mouthFrownRight": 0.05,
    "spreadLeft": 0.5, "spreadRight": 0.5, "mouthLowerDownLeft": 0.50, "mouthLowerDownRight": 0.50,
    "mouthUpperUpLeft": 0.40, "mouthUpperUpRight": 0.40, "mouthRollLower": 0.25,
    "mouthLeft": 0.06, "mouthRight": 0.06, "jawLeft": 0.06, "jawRight": 0.06,
    "browInnerUp": 0.80, "browOuterUpLeft": 0.60, "browOuterUpRight": 0.60,
    "browDownLeft": 0.60, "browDownRight": 0.60,
    "cheekSquintLeft": 0.12, "cheekSquintRight": 0.12,
}  # fmt: skip
"""What landmarks show, with the size (standard deviation) that we expect of it: ARKit channels, and lips drawn apart
(`spread*`), in which stretch and smile go together as in avatar/motion/articulation.py."""
SPREAD: Final = {"mouthStretch": 0.45, "mouthSmile": 0.22}
AGAINST: Final = (
    ("mouthPucker", "spreadLeft", 0.5), ("mouthPucker", "spreadRight", 0.5),
    ("spreadLeft", "mouthFrownLeft", 0.3), ("spreadRight", "mouthFrownRight", 0.3),
)  # fmt: skip
"""Muscles that do not pull against each other, though landmarks could be explained so; weight against the prior."""
NOISE_CM: Final = 0.2
"""Noise of a landmark against which the prior is weighed."""
TWINS: Final = 1.5
"""Weight of the wish that left and right agree, against the prior: what differs between them is mostly noise."""
GAP_WEIGHT: Final = 5.0
"""The distance between the lips is what everybody sees."""
TEMPORAL: Final = 0.35
"""Weight of the change from frame to frame, against the prior: the lips' own speed stays untouched."""
_STEPS: Final = 250

_BROWS: Final = np.array([name.startswith("brow") for name in PRIOR])
_BROW_TEMPORAL: Final = 2.0


def landmark_weights() -> F64:
    """Trust in each landmark for expressions [468]: lips most, the face's outline (hair, collar) and lids least."""
    from avatar.rig.basis import load

    topology, front = load().topology, load().neutral_V3[:468]
    weight = np.full(468, 0.6)
    weight[topology.oval_ring[topology.oval_ring < 468]] = 0.25
    weight[front[:, 1] < -6.5] *= 0.3
    for lid in (*mesh.LID_UPPER, *mesh.LID_LOWER):
        weight[list(lid)] = 0.05
    for lip in (mesh.LIP_UPPER, mesh.LIP_LOWER):
        weight[list(lip)] = 2.0
    for lip in (mesh.LIP_OUTER_UPPER, mesh.LIP_OUTER_LOWER):
        weight[list(lip)] = 1.5
    weight[[152, 148, 377, 176, 400, 175, 199, 200]] = 0.5  # chin: followed loosely by the models
    return weight


def mixture_CK() -> F64:
    """What each fitted quantity is in ARKit channels [C, 44]."""
    mix_CK = np.zeros((len(PRIOR), EXPRESSION_DIM))
    for row, name in enumerate(PRIOR):
        if name.startswith("spread"):
            for stem, share in SPREAD.items():
                mix_CK[row, INDEX[stem + name.removeprefix("spread")]] = share
        else:
            mix_CK[row, INDEX[name]] = 1.0
    return mix_CK


class ShapeFit:
    """The fit's constant parts: what the channels do to the landmarks, how much we believe what."""

    def __init__(self, basis: Basis) -> None:
        self._weight_N = landmark_weights()
        self.channels_CN3 = mixture_CK() @ basis.expression_KV3[:, :468].reshape(EXPRESSION_DIM, -1)
        self.channels_CN3 = self.channels_CN3.reshape(len(PRIOR), 468, 3).astype(np.float64)
        size_C = np.array(list(PRIOR.values()))
        upper, lower = np.array(mesh.LIP_UPPER[2:-2]), np.array(mesh.LIP_LOWER[2:-2])
        self._gap = (upper, lower)
        # picture plane of the head's own axes: x and y; depth cannot be seen
        rows_CR = (self.channels_CN3[..., :2] * self._weight_N[:, None]).reshape(len(PRIOR), -1)
        gap_CL = GAP_WEIGHT * (self.channels_CN3[:, lower, 1] - self.channels_CN3[:, upper, 1])
        self._rows_CR = np.concatenate([rows_CR, gap_CL], 1)
        names = list(PRIOR)
        twins = [(i, names.index(n.replace("Left", "Right"))) for i, n in enumerate(names) if n.endswith("Left")]
        self._gram_CC = self._rows_CR @ self._rows_CR.T + np.diag((NOISE_CM / size_C) ** 2)
        for a, b in twins:
            if names[a] in ("mouthLeft", "jawLeft"):
                continue  # opposites, not twins
            pull = TWINS * (NOISE_CM / size_C[a]) ** 2
            self._gram_CC[np.ix_([a, b], [a, b])] += pull * np.array([[1.0, -1.0], [-1.0, 1.0]])
        for one, other, share in AGAINST:
            pair = [names.index(one), names.index(other)]
            self._gram_CC[np.ix_(pair, pair)] += share * NOISE_CM**2 / float(np.prod(size_C[pair]))
        still = np.where(_BROWS, _BROW_TEMPORAL, TEMPORAL)
        self._still_C = still * (NOISE_CM / size_C) ** 2

    def solve(self, offset_TN3: F64) -> F64:
        """Weights 0..1 [T, C] that explain the landmarks' offsets from neutral, cm in head axes."""
        rows_TR = (offset_TN3[..., :2] * self._weight_N[:, None]).reshape(len(offset_TN3), -1)
        upper, lower = self._gap
        gap_TL = GAP_WEIGHT * (offset_TN3[:, lower, 1] - offset_TN3[:, upper, 1])
        right_TC = np.concatenate([rows_TR, gap_TL], 1) @ self._rows_CR.T
        return bounded(self._gram_CC, right_TC, self._still_C)

    def offsets(self, weights_TC: F64) -> F64:
        """What these weights do to the landmarks, cm [T, 468, 3]."""
        return np.asarray(np.tensordot(weights_TC, self.channels_CN3, 1))


def bounded(gram_CC: F64, right_TC: F64, still_C: F64) -> F64:
    """min 1/2 x'Gx - r'x + 1/2 still |x_t - x_(t-1)|^2 over 0 <= x <= 1, by accelerated projected gradients
    (FISTA, Beck and Teboulle 2009, with restarts)."""
    scale_C = 1.0 / np.sqrt(np.diag(gram_CC))  # equal curvature per channel: converges in fewer steps
    gram = gram_CC * scale_C * scale_C[:, None]
    right, still, high = right_TC * scale_C, still_C * scale_C**2, 1.0 / scale_C
    step = 1.0 / (float(np.linalg.eigvalsh(gram)[-1]) + 4.0 * float(still.max()))
    x = np.clip(np.linalg.solve(gram + 1e-9 * np.eye(len(gram)), right.T).T, 0.0, high)
    y, t = x.copy(), 1.0
    for _ in range(_STEPS):
        gradient = y @ gram - right
        change = still * (y[1:] - y[:-1])
        gradient[1:] += change
        gradient[:-1] -= change
        new = np.minimum(np.maximum(y - step * gradient, 0.0), high)
        if float(((y - new) * (new - x)).sum()) > 0.0:
            t = 1.0
        after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        y = new + (t - 1.0) / after * (new - x)
        moved = float(np.abs(new - x).max())
        x, t = new, after
        if moved < 1e-4:
            break
    return np.asarray(x * scale_C)


def lip_gap(points_TN3: NDArray[Any], down: int = 1) -> F64:
    """Mean distance between the inner lips' middle thirds, down the face; the landmarks' unit, [T]."""
    upper, lower = list(mesh.LIP_UPPER[3:-3]), list(mesh.LIP_LOWER[3:-3])
    return np.asarray((points_TN3[:, lower, down] - points_TN3[:, upper, down]).mean(1))
