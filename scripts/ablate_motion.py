"""What each part of the data, and each choice of the training, contributes: small trainings side by side.

    python -m scripts.ablate_motion --data /tmp/motion/packed --out /tmp/motion/ablation --steps 600

Trains the 'tiny' network once per variant for as many steps, measures all of them on the same held-out windows as
streaming cuts them, and writes OUT/ablation.json and OUT/ablation.md. Finished variants are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
import torch

from avatar.motion import space
from avatar.motion.diffusion.layout import BLOCK, LOOK, PAST
from avatar.motion.diffusion.net import SIZES, MotionNet
from scripts import train_motion
from scripts.motion_dataset import MotionData
from scripts.motion_objective import Batcher, VelocityNet, losses, sample

VARIANTS: Final[dict[str, list[str]]] = {
    "all": [],
    "without grid": ["--weight", "grid=0"],
    "without facegood": ["--weight", "facegood=0"],
    "without teacher": ["--weight", "teacher=0"],
    "without pseudo-labels": ["--weight", "pseudo-libri=0", "pseudo-lj=0"],
    "velocity prediction": ["--predict", "velocity"],
}
_JAW, _CLOSE = space.INDEX["jawOpen"], space.INDEX["mouthClose"]


@torch.no_grad()
def measure(out: Path, data: Path) -> dict[str, dict[str, float]]:
    """Per held-out source: loss, correlation of the opening by ear, share of sealed frames shown sealed."""
    saved = torch.load(out / "flow.pt", weights_only=True)
    batcher = Batcher({name: value.numpy() for name, value in saved["norms"].items()}, "cpu")
    net = (VelocityNet if saved["predict"] == "velocity" else MotionNet)(SIZES[saved["size"]], batcher.reach_ND)
    net.load_state_dict(saved["average"])
    sources = sorted(set(MotionData(data, "held").sources))
    table: dict[str, dict[str, float]] = {}
    for source in sources:
        held = MotionData(data, "held", {other: float(other == source) for other in sources})
        w = held.windows(np.random.default_rng(3), 300, past=PAST, new=BLOCK, look=LOOK, train=False, phones=False)
        motion, rest, known = batcher.tensors(w)
        noise = net.start(batcher.noise(len(motion), BLOCK + LOOK, torch.Generator().manual_seed(1)), motion[:, :PAST])
        row: dict[str, float] = {}
        for steps in (1, 4):
            guess = sample(net, motion, rest, PAST, noise, steps)
            parts = losses(batcher, guess, motion, known, PAST)
            row[f"loss_{steps}"] = float(torch.stack(list(parts.values())).sum())
            made, true = (
                (x[:, :BLOCK] * batcher.norms["norm.scale"] + batcher.norms["norm.mean"])[..., [_JAW, _CLOSE]]
                for x in (guess, motion[:, PAST:])
            )
            opening = torch.stack([(x[..., 0] - x[..., 1]).flatten() for x in (made, true)])
            row[f"r_{steps}"] = float(torch.corrcoef(opening)[0, 1])
        table[source] = {name: round(value, 4) for name, value in row.items()}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--tokens", type=int, default=1300)
    arguments = parser.parse_args()
    report = {}
    for name, options in VARIANTS.items():
        folder = arguments.out / name.replace(" ", "-")
        if not (folder / "flow.pt").exists():
            common = ["--data", str(arguments.data), "--out", str(folder), "--size", "tiny", "--save-every", "1000"]
            budget = ["--max-steps", str(arguments.steps), "--rate", "1.5e-3", "--tokens", str(arguments.tokens)]
            budget += ["--minutes", "60", "--plan-steps", str(arguments.steps)]
            train_motion.main([*common, *budget, *options])
        report[name] = measure(folder, arguments.data)
        (arguments.out / "ablation.json").write_text(json.dumps(report, indent=1) + "\n")
    sources = list(report["all"])
    lines = ["| variant | " + " | ".join(f"{s}: loss, r" for s in sources) + " |", "|---" * (len(sources) + 1) + "|"]
    for name, table in report.items():
        cells = (f"{table[s]['loss_4']:.3f}, {table[s]['r_4']:.3f}" for s in sources)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    (arguments.out / "ablation.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
