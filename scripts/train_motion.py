"""Train the motion network on packed clips (scripts/motion_dataset.py), in slices that can be cut off at any time.

    python -m scripts.train_motion --data /tmp/motion/packed --out /tmp/motion/small --size small --minutes 60
    python -m scripts.train_motion --data ... --out ... --size base --device cuda --resume --minutes 9 --total 90
    python -m scripts.train_motion --data ... --out ... --distil --minutes 15   # one or two steps, guided
    python -m scripts.train_motion --out ... --export avatar/motion/data/motion_small.safetensors

OUT/flow.pt and OUT/distilled.pt are the checkpoints, OUT/log.csv and (with tensorboard installed) OUT/events the log,
OUT/training.png the plot. --minutes is the length of this slice, --total what the learning rate is planned for.

Flow matching with clean-sample prediction: x_t = (1 - t) noise + t x; loss = weighted |net(x_t, t) - x|^2 over observed
channels, plus its frame-to-frame difference, plus the mouth's opening (jawOpen - mouthClose), which people see first.
Shape suffixes: B = windows, T = tokens, N = tokens to predict, D = 52.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from avatar.motion import space
from avatar.motion.controls import CONTROLS
from avatar.motion.diffusion.layout import (
    AUDIO,
    BLOCK,
    CONTROL_GAIN,
    EAR,
    LOOK,
    MAX_PAST,
    NOISE_KERNEL,
    NOISE_TAPS,
    PAST,
    SLOW_D,
)
from avatar.motion.diffusion.net import SIZES, MotionNet, parameters_of
from avatar.motion.diffusion.weights import save_weights
from scripts.motion_dataset import MotionData, Windows

_I = space.INDEX
_LIPS = [i for n, i in _I.items() if n.startswith(("mouth", "jaw"))]
_VELOCITY: Final = 1.0
_OPENING: Final = 2.0
_SEALED: Final = 3.0
AUDIO_DROP, CONTROL_DROP = 0.10, 0.08


def channel_weights() -> Tensor:
    """How much each channel counts, float32 [52]."""
    weight_D = torch.ones(space.DIM)
    weight_D[_LIPS] = 1.5
    for name in ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"):
        weight_D[_I[name]] = 3.0
    return weight_D


class Batcher:
    """Windows as network inputs on the device, normalised."""

    def __init__(self, norms: dict[str, np.ndarray[Any, Any]], device: str) -> None:
        self.device = device
        self.norms = {name: torch.from_numpy(value).to(device) for name, value in norms.items()}
        self.gain = torch.from_numpy(CONTROL_GAIN).to(device)
        self.opening = torch.zeros(space.DIM, device=device)
        scale_D = self.norms["norm.scale"]
        self.opening[_I["jawOpen"]] = scale_D[_I["jawOpen"]]
        self.opening[_I["mouthClose"]] = -scale_D[_I["mouthClose"]]
        self.opening /= self.opening.abs().max()
        self.kernel = torch.from_numpy(NOISE_KERNEL).to(device)
        self.slow = torch.from_numpy(SLOW_D).to(device)
        self.lips = ~self.slow
        # A channel that moves little from frame to frame must be right to a fraction of that, not of its range.
        self.pace = self.norms["norm.pace"]
        rest = (-self.norms["norm.mean"] / self.norms["norm.scale"]) * self.opening
        self.sealed = float(rest.sum()) + 0.02 / float(scale_D[_I["jawOpen"]])

    def noise(self, batch: int, frames: int, generator: torch.Generator) -> Tensor:
        """Noise as FrameNoise makes it when streaming, [B, frames, 52]: smooth in the slow channels."""
        white = torch.randn(batch, frames + NOISE_TAPS - 1, space.DIM, generator=generator, device=self.device)
        smooth = white.unfold(1, NOISE_TAPS, 1) @ self.kernel
        return torch.where(self.slow, smooth, white[:, :frames])

    def tensors(self, w: Windows) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised motion [B, T, 52], the other token inputs [B, T, ...], observed channels [B, 52]."""

        def on(array: np.ndarray[Any, Any]) -> Tensor:
            return torch.from_numpy(array).to(self.device, torch.float32)

        motion = (on(w.motion_BTD) - self.norms["norm.mean"]) / self.norms["norm.scale"]
        known_BD = on(w.known_BD)
        audio = (on(w.audio_BTA) - self.norms["norm.audio_mean"]) / self.norms["norm.audio_scale"]
        role = torch.zeros(w.past + w.new + w.look, 3, device=self.device)
        role[: w.past, 0] = role[w.past : w.past + w.new, 1] = role[w.past + w.new :, 2] = 1.0
        role_BT3 = role.expand(len(motion), -1, -1)
        rest = torch.cat([audio, on(w.controls_BTC) * self.gain, on(w.ear_BTU), role_BT3], dim=2)
        return motion, rest, known_BD

    def without(self, rest_BTI: Tensor, *, audio_B: Tensor, control_B: Tensor) -> Tensor:
        """The inputs with hearing or controls taken away where the masks (bool [B]) say so."""
        out = rest_BTI.clone()
        nothing_A = (-self.norms["norm.audio_mean"]) / self.norms["norm.audio_scale"]
        out[..., :AUDIO] = torch.where(audio_B[:, None, None], nothing_A, out[..., :AUDIO])
        controls = slice(AUDIO, AUDIO + CONTROLS + EAR)
        out[..., controls] = out[..., controls] * (~control_B[:, None, None])
        return out


def losses(batcher: Batcher, guess_BND: Tensor, motion_BTD: Tensor, known_BD: Tensor, past: int) -> dict[str, Tensor]:
    """The parts of the loss; each a mean over what was observed."""
    weight_BD = known_BD * channel_weights().to(guess_BND.device)
    total = weight_BD.sum().clamp_min(1.0) * guess_BND.shape[1]
    error_BND = guess_BND - motion_BTD[:, past:]
    before = torch.zeros_like(error_BND[:, :1])  # the last past frame is certain
    change = torch.diff(torch.cat([before, error_BND], 1) if past else error_BND, dim=1)
    opening = error_BND @ batcher.opening
    sealed = (motion_BTD[:, past:] @ batcher.opening) < batcher.sealed  # a P, B, M or a closed mouth
    return {
        "position": (error_BND.square() * weight_BD[:, None]).sum() / total,
        "velocity": _VELOCITY * (change.square() * (weight_BD * batcher.pace)[:, None]).sum() / total,
        "opening": _OPENING * (opening.square() * (1.0 + _SEALED * sealed)).mean(),
    }


def shape(rng: np.random.Generator) -> dict[str, int]:
    """A window's lengths: often as streaming has them, else anything; a tenth and more begin cold."""
    past = 0 if rng.random() < 0.12 else (PAST if rng.random() < 0.4 else int(rng.integers(1, MAX_PAST + 1)))
    draw = rng.random()
    new = BLOCK if draw < 0.4 else int(rng.integers(1, 13)) if draw < 0.75 else int(rng.integers(5, 51))
    look = LOOK if rng.random() < 0.7 else int(rng.integers(2, 6))
    return {"past": past, "new": new, "look": look}


def spoil_past(motion_BTD: Tensor, past: int, generator: torch.Generator) -> Tensor:
    """The past as the network's own output will be: a little wrong. Smooth errors, in half the windows; next to none in
    the slow channels, which must go on from where they are."""
    if past == 0:
        return motion_BTD
    batch, _, width = motion_BTD.shape
    knots = torch.randn(batch, width, 4, generator=generator, device=motion_BTD.device)
    smooth = nn.functional.interpolate(knots, size=past, mode="linear", align_corners=True).transpose(1, 2)
    strength = torch.rand(batch, 1, 1, generator=generator, device=motion_BTD.device)
    most_D = torch.where(torch.from_numpy(SLOW_D).to(motion_BTD.device), 0.01, 0.25)
    strength = most_D * (2.0 * strength - 1.0).clamp_min(0.0)
    return torch.cat([motion_BTD[:, :past] + strength * smooth, motion_BTD[:, past:]], dim=1)


def training_loss(net: nn.Module, batcher: Batcher, w: Windows, generator: torch.Generator) -> dict[str, Tensor]:
    """Loss of one batch at random flow times."""
    motion, rest, known = batcher.tensors(w)
    batch, device = len(motion), motion.device

    def chance(p: float) -> Tensor:
        return torch.rand(batch, generator=generator, device=device) < p

    rest = batcher.without(rest, audio_B=chance(AUDIO_DROP), control_B=chance(CONTROL_DROP))
    t_B = torch.rand(batch, generator=generator, device=device) * 0.98
    t_B = torch.where(chance(0.25), torch.zeros_like(t_B), t_B)
    given = spoil_past(motion, w.past, generator)
    noise = batcher.noise(batch, w.new + w.look, generator)
    t = t_B[:, None, None]
    noisy = torch.cat([given[:, : w.past], (1.0 - t) * noise + t * motion[:, w.past :]], dim=1)
    guess = net(torch.cat([noisy, rest], dim=2), t_B, w.past)
    return losses(batcher, guess, motion, known, w.past)


def sample(
    net: nn.Module, given_BTD: Tensor, rest_BTI: Tensor, past: int, noise_BND: Tensor, steps: int,
    guidance: tuple[Batcher, float] | None = None,
) -> Tensor:  # fmt: skip
    """Euler steps from noise to clean motion [B, N, 52]; guidance: (batcher, strength of hearing)."""
    x = noise_BND
    batch = len(x)
    no_audio = None
    if guidance is not None and guidance[1] > 0.0:
        yes = torch.ones(batch, dtype=torch.bool, device=x.device)
        no_audio = guidance[0].without(rest_BTI, audio_B=yes, control_B=~yes)
    for step in range(steps):
        t_B = torch.full((batch,), step / steps, device=x.device)
        motion = torch.cat([given_BTD[:, :past], x], dim=1)
        clean = net(torch.cat([motion, rest_BTI], dim=2), t_B, past)
        if no_audio is not None and guidance is not None:
            without = net(torch.cat([motion, no_audio], dim=2), t_B, past)
            clean = clean + guidance[1] * (clean - without)
        x = x + (clean - x) / (steps - step)
    return x


def distillation_loss(
    student: nn.Module, teacher: nn.Module, batcher: Batcher, w: Windows, generator: torch.Generator, *, steps: int,
    guidance: float,
) -> dict[str, Tensor]:  # fmt: skip
    """The student's one step against where the teacher's many guided steps lead from the same noise, and from the
    middle of the way (so that two steps work as well).

    So for head, gaze, brows and lids, which the sound leaves open. What the lips do is all but given by it: there the
    student goes on learning from the recordings, for a sample's lips are a little further from the truth than the mean
    (docs/models/motion.md has the figures)."""
    motion, rest, known = batcher.tensors(w)
    given = spoil_past(motion, w.past, generator)
    noise = batcher.noise(len(motion), w.new + w.look, generator)
    with torch.no_grad():
        target = sample(teacher, given, rest, w.past, noise, steps, (batcher, guidance))
    half = len(motion) // 4
    t_B = torch.zeros(len(motion), device=motion.device)
    t_B[:half] = 0.5
    t = t_B[:, None, None]
    noisy = torch.cat([given[:, : w.past], (1.0 - t) * noise + t * target], dim=1)
    guess = student(torch.cat([noisy, rest], dim=2), t_B, w.past)
    lips_BND = (batcher.lips & (known > 0.0))[:, None]
    target = torch.where(lips_BND, motion[:, w.past :], target)
    goal = torch.cat([motion[:, : w.past], target], dim=1)
    return losses(batcher, guess, goal, torch.ones_like(known), w.past)


@torch.no_grad()
def validate(net: nn.Module, batcher: Batcher, data: MotionData, steps: int) -> dict[str, float]:
    """Loss and correlation of the mouth's opening on held-out windows as streaming cuts them, per source."""
    out: dict[str, float] = {}
    generator = torch.Generator(device=batcher.device).manual_seed(7)
    w = data.windows(np.random.default_rng(5), 256, past=PAST, new=BLOCK, look=LOOK, train=False, phones=False)
    motion, rest, known = batcher.tensors(w)
    noise = batcher.noise(len(motion), w.new + w.look, generator)
    guess = sample(net, motion, rest, w.past, noise, steps)
    out["held_loss"] = float(sum(losses(batcher, guess, motion, known, w.past).values()))
    seen = known[:, _I["jawOpen"]] > 0
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


class VelocityNet(MotionNet):
    """The same network read as a prediction of velocity (motion - noise): the usual flow matching, for comparison."""

    def forward(self, input_BTI: Tensor, t_B: Tensor, past: int, mask_BT: Tensor | None = None) -> Tensor:
        """Clean motion [B, N, 52], from the velocity that the network predicts."""
        velocity = super().forward(input_BTI, t_B, past, mask_BT)
        if past:  # a velocity does not go on from where the face was
            velocity = velocity - (input_BTI[:, past - 1, : space.DIM] * self.slow)[:, None]
        clean: Tensor = input_BTI[:, past:, : space.DIM] + (1.0 - t_B)[:, None, None] * velocity
        return clean


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
    net, average = kind(config).to(a.device), kind(config).to(a.device)
    first = saved or (flow if a.distil else None)
    if first:
        net.load_state_dict(first["net" if saved else "average"])
        average.load_state_dict(first["average"])
    else:
        average.load_state_dict(net.state_dict())
    teacher = None
    if a.distil:
        assert flow is not None
        teacher = MotionNet(config).to(a.device)
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
    tensors = {name: tensor.numpy() for name, tensor in (saved["average"] | saved["norms"]).items()}
    del tensors["norm.pace"]  # only training needs it
    save_weights(
        a.export, tensors, width=config.width, layers=config.layers, heads=config.heads, steps=1 if distilled else 4,
        meta={"size": saved["size"], "guided": "yes" if distilled else "no", "trained": f"{saved['step']} steps"},
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
    parser.add_argument("--teacher-steps", type=int, default=4)
    parser.add_argument(
        "--guidance", type=float, default=0.3, help="how far what follows from the sound is exaggerated when distilling"
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
