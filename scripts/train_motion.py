"""Train the motion network on packed clips (scripts/motion_dataset.py), in slices that can be cut off at any time.

    python -m scripts.train_motion --data /tmp/motion/packed --out /tmp/motion/small --size small --minutes 60
    python -m scripts.train_motion --data ... --out ... --size base --device cuda --resume --minutes 9 --total 90
    python -m scripts.train_motion --data ... --out ... --distil --minutes 15   # one or two steps
    python -m scripts.train_motion --out ... --export avatar/motion/data/motion_small.safetensors

OUT/flow.pt and OUT/distilled.pt are the checkpoints, OUT/log.csv and (with tensorboard installed) OUT/events the log,
OUT/training.png the plot. --minutes is the length of this slice, --total what the learning rate is planned for.

What is learned, and how, is in motion_objective.py.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from avatar.motion import space
from avatar.motion.diffusion.layout import BLOCK, LOOK, PAST
from avatar.motion.diffusion.net import SIZES, MotionNet, parameters_of
from avatar.motion.diffusion.weights import save_weights
from scripts.motion_dataset import MotionData
from scripts.motion_objective import (
    Batcher,
    VelocityNet,
    distillation_loss,
    losses,
    sample,
    shape,
    training_loss,
)


@torch.no_grad()
def validate(net: MotionNet, batcher: Batcher, data: MotionData, steps: int) -> dict[str, float]:
    """Loss and correlation of the mouth's opening on held-out windows as streaming cuts them, per source."""
    out: dict[str, float] = {}
    generator = torch.Generator(device=batcher.device).manual_seed(7)
    w = data.windows(np.random.default_rng(5), 256, past=PAST, new=BLOCK, look=LOOK, train=False, phones=False)
    motion, rest, known = batcher.tensors(w)
    noise = net.start(batcher.noise(len(motion), w.new + w.look, generator), motion[:, : w.past])
    guess = sample(net, motion, rest, w.past, noise, steps)
    out["held_loss"] = float(sum(losses(batcher, guess, motion, known, w.past).values()))
    seen = known[:, space.INDEX["jawOpen"]] > 0
    opening = torch.stack([(x[:, :BLOCK] @ batcher.opening)[seen].flatten() for x in (guess, motion[:, w.past :])])
    out["held_opening_r"] = float(torch.corrcoef(opening)[0, 1])
    return out


class Log:
    """OUT/log.csv, and tensorboard's events when it is installed."""

    def __init__(self, out: Path) -> None:
        self._path = out / "log.csv"
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board: Any = SummaryWriter(str(out / "events"))
        except ImportError:
            self._board = None

    def write(self, stage: str, step: int, seconds: float, values: dict[str, float]) -> None:
        fresh = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["stage", "step", "seconds", "name", "value"])
            for name, value in values.items():
                writer.writerow([stage, step, round(seconds), name, f"{value:.5f}"])
                if self._board is not None:
                    self._board.add_scalar(f"{stage}/{name}", value, step)
        print(stage, step, f"{seconds:.0f}s", *(f"{k}={v:.4f}" for k, v in values.items()), flush=True)


def _average(average: nn.Module, net: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mean, now in zip(average.parameters(), net.parameters(), strict=True):
            mean.lerp_(now, 1.0 - decay)


def train(a: argparse.Namespace) -> None:
    """One slice of flow training or of distillation."""
    torch.set_num_threads(a.threads)
    out: Path = a.out
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: float(value) for name, value in (item.split("=") for item in a.weight)}
    data, held = MotionData(a.data, "train", weights), MotionData(a.data, "held")
    print("minutes:", {k: round(v, 1) for k, v in data.minutes().items()}, flush=True)
    stage = "distilled" if a.distil else "flow"
    checkpoint = out / f"{stage}.pt"
    flow = torch.load(out / "flow.pt", weights_only=True) if (out / "flow.pt").exists() else None
    saved = torch.load(checkpoint, weights_only=True) if checkpoint.exists() and a.resume else None
    if a.distil and flow is None:
        raise SystemExit(f"{out}/flow.pt is missing: train before you distil.")
    if checkpoint.exists() and not a.resume:
        raise SystemExit(f"{checkpoint} exists: give --resume to go on, or another --out.")
    config = SIZES[a.size]
    norms = {k: v.numpy() for k, v in (saved or flow or {}).get("norms", {}).items()}
    norms = data.statistics(np.random.default_rng(a.seed)) | norms
    batcher = Batcher(norms, a.device)
    torch.manual_seed(a.seed)
    kind = VelocityNet if a.predict == "velocity" else MotionNet
    net, average = (kind(config, batcher.reach_ND).to(a.device) for _ in range(2))
    first = saved or (flow if a.distil else None)
    if first:
        net.load_state_dict(first["net" if saved else "average"])
        average.load_state_dict(first["average"])
    else:
        average.load_state_dict(net.state_dict())
    teacher = None
    if a.distil:
        assert flow is not None
        teacher = MotionNet(config, batcher.reach_ND).to(a.device)
        teacher.load_state_dict(flow["average"])
    optimiser = torch.optim.AdamW(net.parameters(), lr=a.rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    step, spent = 0, 0.0
    if saved:
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = int(saved["step"]), float(saved["spent"])
    print(
        f"{a.size}: {parameters_of(net) / 1e6:.2f} M parameters, step {step}, {spent / 60:.1f} min so far", flush=True
    )
    rng = np.random.default_rng([a.seed, step])
    generator = torch.Generator(device=a.device).manual_seed(a.seed * 1_000_003 + step)
    log, total_s, until = Log(out), (a.total or a.minutes) * 60.0, spent + a.minutes * 60.0
    sums: dict[str, float] = {}
    count, last, started = 0, time.monotonic(), time.monotonic()
    last_step = step + a.max_steps if a.max_steps else math.inf
    while spent < until and step < last_step:
        rate = (
            a.rate * min(1.0, (step + 1) / 200) * (0.03 + 0.485 * (1 + math.cos(math.pi * min(1.0, spent / total_s))))
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        lengths = shape(rng)
        if a.distil:
            lengths["new"] = min(lengths["new"], 12)
        batch = max(8, int(a.tokens / sum(lengths.values())))
        w = data.windows(rng, batch, **lengths)
        if teacher is not None:
            parts = distillation_loss(net, teacher, batcher, w, generator, steps=a.teacher_steps, guidance=a.guidance)
        else:
            parts = training_loss(net, batcher, w, generator)
        loss = torch.stack(list(parts.values())).sum()
        if not bool(torch.isfinite(loss)):
            raise SystemExit(f"the loss is {float(loss)} at step {step}: lower --rate and resume.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        _average(average, net, min(a.decay, (step + 1) / (step + 10)))
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        count += 1
        step += 1
        now = time.monotonic()
        spent, started = spent + now - started, now
        if now - last > a.save_every or spent >= until or step >= last_step:
            last = now
            values = {name: value / count for name, value in sums.items()}
            values |= validate(average, batcher, held, 1 if a.distil else 4)
            log.write(stage, step, spent, values)
            sums, count = {}, 0
            state = {"net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"step": step, "spent": spent, "size": a.size, "predict": a.predict}
            state["guided"] = a.distil and a.guidance > 0.0
            state["norms"] = {name: torch.from_numpy(value) for name, value in norms.items()}
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").rename(checkpoint)
            started = time.monotonic()  # validation is not training time


def export(a: argparse.Namespace) -> None:
    """Averaged weights as safetensors: the distilled ones when there are any and --flow was not given."""
    path: Path = a.out / ("flow.pt" if a.flow or not (a.out / "distilled.pt").exists() else "distilled.pt")
    saved = torch.load(path, weights_only=True)
    config = SIZES[saved["size"]]
    if saved.get("predict", "motion") != "motion":
        raise SystemExit(f"{path} predicts velocity: it is for comparison and cannot be exported.")
    distilled = path.stem == "distilled"
    guided = "yes" if saved.get("guided") else "no"
    tensors = {name: tensor.numpy() for name, tensor in (saved["average"] | saved["norms"]).items()}
    del tensors["norm.pace"]  # only training needs it
    save_weights(
        a.export, tensors, width=config.width, layers=config.layers, heads=config.heads, steps=1 if distilled else 4,
        meta={"size": saved["size"], "guided": guided, "trained": f"{saved['step']} steps"},
    )  # fmt: skip
    print(f"{a.export}: {a.export.stat().st_size / 1e6:.2f} MB from {path}")


def plot(out: Path) -> None:
    """OUT/training.png: every logged curve."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names), 2.8))
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        for stage in dict.fromkeys(row["stage"] for row in rows):
            own = [row for row in rows if row["name"] == name and row["stage"] == stage]
            axis.plot([float(r["seconds"]) / 60 for r in own], [float(r["value"]) for r in own], label=stage)
        axis.set_title(name)
        axis.set_xlabel("minutes")
    np.atleast_1d(axes)[0].legend()
    figure.tight_layout()
    figure.savefig(out / "training.png", dpi=110)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="packed clips")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and logs")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--minutes", type=float, default=9.0, help="length of this slice")
    parser.add_argument("--total", type=float, help="minutes the learning rate is planned for (default: this slice)")
    parser.add_argument("--plan-steps", type=int, help="steps the learning rate is planned for, instead of --total")
    parser.add_argument("--max-steps", type=int, help="end this slice after so many steps")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--distil", action="store_true", help="teach a copy to do it in one step")
    parser.add_argument("--teacher-steps", type=int, default=5)
    parser.add_argument(
        "--guidance", type=float, default=0.0, help="how far what follows from the sound is exaggerated when distilling"
    )
    parser.add_argument("--tokens", type=int, default=1300, help="tokens per step")
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--decay", type=float, default=0.998, help="of the averaged weights")
    parser.add_argument(
        "--weight", nargs="*", default=[], metavar="SOURCE=W", help="share of a source, 0 leaves it out"
    )
    parser.add_argument("--predict", choices=("motion", "velocity"), default="motion", help="velocity: to compare only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--export", type=Path, help="write the averaged weights there and stop")
    parser.add_argument("--flow", action="store_true", help="export the weights before distillation")
    parser.add_argument("--plot", action="store_true", help="draw OUT/training.png and stop")
    arguments = parser.parse_args(argv)
    if arguments.export:
        export(arguments)
    elif arguments.plot:
        plot(arguments.out)
    elif arguments.data is None:
        parser.error("--data is needed for training")
    else:
        train(arguments)


if __name__ == "__main__":
    main()
