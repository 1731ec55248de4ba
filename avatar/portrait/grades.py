"""The words of a portrait's report: grades, what was looked at, and what is said about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final


class Grade(StrEnum):
    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


_ORDER: Final = [Grade.GOOD, Grade.FAIR, Grade.POOR]


_VERDICT: Final = {Grade.GOOD: "animates well", Grade.FAIR: "can be used", Grade.POOR: "will not look good"}


@dataclass(frozen=True)
class Aspect:
    """One thing that was looked at. value: the measure, in `unit`; text: what it means, for anyone."""

    name: str
    grade: Grade
    value: float
    unit: str
    text: str


@dataclass(frozen=True)
class PortraitReport:
    """usable: the picture can be animated. code, message, hint: why not, when not."""

    source: str
    usable: bool
    grade: Grade | None = None
    aspects: list[Aspect] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faces: list[str] = field(default_factory=list)
    code: str = ""
    message: str = ""
    hint: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """What the grade means for the avatar; needs a usable picture."""
        assert self.grade is not None
        return _VERDICT[self.grade]

    @property
    def lines(self) -> list[str]:
        """The report in plain words, one line each."""
        if not self.usable:
            return [f"{self.source}: cannot be used. {self.message}", *([self.hint] if self.hint else [])]
        rows = [f"{self.source}: {self.grade}, {self.verdict}."]
        rows += [f"  {aspect.grade:<4}  {aspect.name:<10}  {aspect.text}" for aspect in self.aspects]
        return rows + [f"  note  {note}" for note in self.warnings]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def overall(aspects: list[Aspect]) -> Grade:
    """The worst of the aspects, except that a single fair one is forgiven."""
    worst = max(aspects, key=lambda aspect: _ORDER.index(aspect.grade)).grade
    if worst is Grade.FAIR and sum(aspect.grade is Grade.FAIR for aspect in aspects) == 1:
        return Grade.GOOD
    return worst
