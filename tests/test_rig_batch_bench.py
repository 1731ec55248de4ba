"""The bench's figures exist for every batch size asked for."""

from __future__ import annotations

from avatar.rig.batch_bench import measure_deform
from tests.rig_samples import sample_rig


def test_a_figure_for_every_batch_size() -> None:
    figures = measure_deform(sample_rig(), (1, 3), repeats=3)
    assert list(figures) == ["deform_b1_ms", "deform_b3_ms"]
    assert all(0.0 < value < 10_000 for value in figures.values())
