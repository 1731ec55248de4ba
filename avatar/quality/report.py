"""All checks on one film, the limits they are held to, and the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from avatar.portrait.models import Model
from avatar.quality.eyes import check_lid_closure
from avatar.quality.film import Film
from avatar.quality.likeness import check_landmarks, check_round_trip
from avatar.quality.mouth import check_lip_closure, check_rings, check_teeth
from avatar.quality.stability import check_background, check_flicker, check_swimming, check_tears

Row = Mapping[str, float]


@dataclass(frozen=True)
class Limit:
    """One figure of the table."""

    name: str
    about: str
    most: float = math.inf
    least: float = -math.inf
    digits: int = 3

    def off(self, value: float) -> float:
        """How far a figure is outside, in its own unit; below 0 = so far inside, NaN = it could not be judged."""
        return max(self.least - value, value - self.most) if math.isfinite(value) else math.nan

    def badness(self, value: float) -> float:
        """Orders figures from best to worst; without a limit the larger is the worse."""
        off = self.off(value)
        return off if off > -math.inf else value

    @property
    def text(self) -> str:
        """The limit in words."""
        sides = []
        if math.isfinite(self.least):
            sides.append(f">= {self.least:g}")
        if math.isfinite(self.most):
            sides.append(f"<= {self.most:g}")
        return ", ".join(sides)


LIMITS: Final[tuple[Limit, ...]] = (
    Limit("ring", "share of the open mouth's rim that is a dark line", most=0.15),
    Limit("ring_worst", "the same in the worst frame", most=0.3),
    Limit("wedge", "share of the corners' skin that is darker than the portrait's", most=0.02),
    Limit("corner_black", "share of the opening's corners that is nearly black", most=0.35),
    Limit("lips_open_worst", "px of the mouth's inside seen through sealed lips (M, B, P)", most=4, digits=1),
    Limit("lips_bright_line", "share of the sealed lips' line as bright as teeth", most=0.05),
    Limit("teeth_white", "brightness of teeth / of lit skin", most=1.05, least=0.5),
    Limit("teeth_pieces", "pieces of teeth beyond two rows, per frame", most=1.0, digits=2),
    Limit("teeth_gaps", "darkness of the lines between teeth", most=0.08),
    Limit("teeth_evenness", "brightness of teeth, sides / middle", least=0.6),
    Limit("lids_open", "share of the eyes seen through closed lids", most=0.01, digits=4),
    Limit("drift_gms", "eye-nose region after a round trip, gradient deviation", most=0.05, digits=4),
    Limit("drift_tone", "the same region's mean colour, levels", most=6.0, digits=2),
    Limit("drift_points", "landmarks found again, % of the face's width", most=1.0, digits=2),
    Limit("trip_psnr", "skin after a round trip, dB", least=30.0, digits=1),
    Limit("trip_ssim", "the same, SSIM", least=0.95, digits=4),
    Limit("trip_gms", "the same, gradient deviation", most=0.05, digits=4),
    Limit("neutral_gms", "the neutral frame against the portrait, whose expression it lacks", digits=4),
    Limit("self_psnr", "the portrait's own motion against the portrait, dB", least=30.0, digits=1),
    Limit("self_ssim", "the same, SSIM", least=0.97, digits=4),
    Limit("background", "largest change of the background over all poses, levels", most=4, digits=0),
    Limit("flicker", "second difference of the skin in time, levels", most=1.5),
    Limit("pop_jaw", "largest jerk of a slow opening / usual change, mouth", most=1.2, digits=2),
    Limit("pop_lids", "the same of a slow blink, eyes", most=1.2, digits=2),
    Limit("swim", "skin texture off its place, px (95 %)", most=0.5, digits=2),
    Limit("torn", "torn pixels of the person per thousand", most=1.0, digits=2),
    Limit("smeared", "smeared pixels of the person per thousand", most=5.0, digits=2),
    Limit("hair_edges", "strong edges in hair and neck, worst pose / neutral", most=1.3, digits=2),
)


def check_film(film: Film, landmark_model: Model) -> dict[str, float]:
    """Every figure of one portrait, by name."""
    return {
        **check_rings(film),
        **check_lip_closure(film),
        **check_teeth(film),
        **check_lid_closure(film),
        **check_round_trip(film),
        **check_landmarks(film, landmark_model),
        **check_background(film),
        **check_flicker(film),
        **check_swimming(film),
        **check_tears(film),
    }


def beyond(row: Row) -> list[str]:
    """Names of the figures that are beyond their limits; what could not be judged is in `unjudged` instead."""
    return [limit.name for limit in LIMITS if limit.off(row.get(limit.name, math.nan)) > 0]


def unjudged(row: Row) -> list[str]:
    """Names of the figures that are missing or not finite: neither within their limits nor beyond."""
    return [limit.name for limit in LIMITS if math.isnan(limit.off(row.get(limit.name, math.nan)))]


def summary_table(after: Mapping[str, Row], before: Mapping[str, Row] | None) -> str:
    """Markdown: one line per figure with median, worst, how many portraits are beyond the limit of those that could be
    judged, and how many could not."""
    lines = [
        "| figure | limit | median | worst | beyond | not judged | what it is |",
        "|---|---|---|---|---|---|---|",
    ]
    for limit in LIMITS:
        cells = []
        for what in (_median, _worst, _beyond, _unjudged):
            texts = [what(rows, limit) for rows in ((before, after) if before else (after,)) if rows is not None]
            cells.append(" → ".join(texts))
        lines.append(f"| {limit.name} | {limit.text} | {' | '.join(cells)} | {limit.about} |")
    return "\n".join(lines)


def portrait_table(after: Mapping[str, Row], before: Mapping[str, Row] | None, columns: Sequence[str]) -> str:
    """Markdown: one line per portrait with the main figures, what is beyond its limit and what was not judged."""
    limits = [limit for limit in LIMITS if limit.name in columns]
    lines = [
        "| portrait | " + " | ".join(limit.name for limit in limits) + " | beyond its limit | not judged |",
        "|---" * (len(limits) + 3) + "|",
    ]
    for portrait, row in after.items():
        cells = []
        for limit in limits:
            values = [row] if before is None or portrait not in before else [before[portrait], row]
            cells.append(" → ".join(_number(r.get(limit.name, math.nan), limit) for r in values))
        cells += [", ".join(names) or "-" for names in (beyond(row), unjudged(row))]
        lines.append(f"| {portrait} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _values(rows: Mapping[str, Row], limit: Limit) -> list[float]:
    values = [row.get(limit.name, math.nan) for row in rows.values()]
    return [value for value in values if math.isfinite(value)]


def _median(rows: Mapping[str, Row], limit: Limit) -> str:
    values = _values(rows, limit)
    return _number(float(np.median(values)) if values else math.nan, limit)


def _worst(rows: Mapping[str, Row], limit: Limit) -> str:
    return _number(max(_values(rows, limit), key=limit.badness, default=math.nan), limit)


def _beyond(rows: Mapping[str, Row], limit: Limit) -> str:
    values = _values(rows, limit)
    return f"{sum(limit.off(value) > 0 for value in values)}/{len(values)}"


def _unjudged(rows: Mapping[str, Row], limit: Limit) -> str:
    return str(len(rows) - len(_values(rows, limit)))


def _number(value: float, limit: Limit) -> str:
    return f"{value:.{limit.digits}f}" if math.isfinite(value) else "-"
