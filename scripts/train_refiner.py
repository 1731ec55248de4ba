"""Train the mouth's refiner (docs/models/refiner.md): collect pairs once, then learn for some minutes on a CPU.

    python -m scripts.train_refiner --data pairs.npz --out refiner.pt --minutes 25 [--resume]
        [--portraits default FILE...] [--clips DIR --clip-count 9 --first-clip 0]

Pairs are collected when the file of --data is missing; --collect-only stops there. --resume goes on from --out. Reduced
forms: fewer minutes, --fine, --trips, --every. Which portraits may be used for weights that are kept: refiner_data.py.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from scripts.refiner_data import KINDS, collect
from scripts.refiner_net import Refiner, multiply_adds

BATCH: Final = 8
RATE: Final = 7e-4
WARM_UP: Final = 100
"""Steps over which the rate rises: a first leap shuts the mask, and a shut mask learns nothing any more."""
WEIGHTS: Final = {"fine": 3.0, "trip": 1.0, "video": 0.3}
"""Of the kinds of pairs: about one over their usual error; tracked video, never quite in place, shall not rule."""
SHARES: Final = {"fine": 0.35, "trip": 0.25, "video": 0.4}
EDGES: Final = 0.5
"""Weight of differences of gradients."""


def load(path: Path) -> dict[str, Any]:
    """The arrays of refiner_data.collect."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def batches(data: dict[str, Any], seed: int) -> Any:
    """Endless augmented batches: seen [B, 5, H, W], wanted [B, 3, H, W] in 0..1, weight [B]."""
    random = np.random.default_rng(seed)
    rows = {kind: np.flatnonzero(data["kind"] == number) for number, kind in enumerate(KINDS)}
    rows = {kind: found for kind, found in rows.items() if len(found)}
    share = np.array([SHARES[kind] for kind in rows])
    names = list(rows)
    while True:
        kinds = random.choice(len(names), BATCH, p=share / share.sum())
        picked = np.array([random.choice(rows[names[k]]) for k in kinds])
        seen = torch.from_numpy(data["seen"][picked]).permute(0, 3, 1, 2).float() / 255
        wanted = torch.from_numpy(data["wanted"][picked]).permute(0, 3, 1, 2).float() / 255
        # other skins and lights: the same gain and gamma on both sides
        gain = torch.from_numpy(np.exp(random.normal(0, 0.2, (BATCH, 3, 1, 1)))).float()
        gamma = torch.from_numpy(np.exp(random.normal(0, 0.25, (BATCH, 1, 1, 1)))).float()
        wanted = (wanted**gamma * gain).clamp(0, 1)
        seen = torch.cat([(seen[:, :3] ** gamma * gain).clamp(0, 1), seen[:, 3:]], 1)
        if random.random() < 0.5:
            seen, wanted = seen.flip(-1), wanted.flip(-1)
        weight = torch.tensor([WEIGHTS[names[k]] for k in kinds])
        yield seen.contiguous(), wanted.contiguous(), weight


def loss_of(got_BCHW: Tensor, wanted_BCHW: Tensor, weight_B: Tensor) -> Tensor:
    """Differences of colours and of gradients, soft near zero (Charbonnier)."""

    def soft(x: Tensor) -> Tensor:
        return torch.sqrt(x * x + 1e-6).mean((1, 2, 3))

    error = got_BCHW - wanted_BCHW
    edges = soft(error[..., 1:] - error[..., :-1]) + soft(error[..., 1:, :] - error[..., :-1, :])
    return ((soft(error) + EDGES * edges) * weight_B).mean()


def train(net: nn.Module, data: dict[str, Any], minutes: float, state: dict[str, Any]) -> None:
    """Learn until the time is over; `state` holds the optimiser's state and the steps so far, and is brought up to
    date. The rate falls to a twentieth over this run's minutes."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    if "optimiser" in state:
        optimiser.load_state_dict(state["optimiser"])
    started, steps, shown = time.monotonic(), int(state.get("steps", 0)), []
    made = batches(data, seed=steps)
    while (spent := (time.monotonic() - started) / 60) < minutes:
        for group in optimiser.param_groups:
            fall = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * spent / minutes))
            group["lr"] = RATE * fall * min(1.0, (steps + 1) / WARM_UP)
        seen, wanted, weight = next(made)
        loss = loss_of(net(seen), wanted, weight)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            shown.append((float(loss), float(loss_of(seen[:, :3], wanted, weight))))
        steps += 1
        if steps % 100 == 0:
            now, left_alone = np.mean(shown, axis=0)
            print(f"step {steps}, {spent:.1f} min: loss {now:.5f}, left alone {left_alone:.5f}", flush=True)
            shown = []
    state.update(optimiser=optimiser.state_dict(), steps=steps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=".npz of pairs, made when missing")
    parser.add_argument("--out", type=Path, required=True, help="weights and the optimiser's state")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--collect-only", action="store_true")
    parser.add_argument("--portraits", nargs="*", default=["default"])
    parser.add_argument("--clips", type=Path, help="folder of clips of one speaker each")
    parser.add_argument("--clip-count", type=int, default=9)
    parser.add_argument("--first-clip", type=int, default=0)
    parser.add_argument("--fine", type=int, default=80, help="pairs per portrait")
    parser.add_argument("--trips", type=int, default=40, help="pairs per portrait")
    parser.add_argument("--every", type=int, default=6, help="every n-th frame of a clip")
    parser.add_argument("--seed", type=int, default=0)
    options: Any = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    if not options.data.is_file():
        clips = sorted(options.clips.glob("*.mp4"))[options.first_clip :: 97] if options.clips else []
        data = collect(
            options.portraits, clips[: options.clip_count], options.fine, options.trips, options.every, options.seed
        )
        np.savez(options.data, **data)
    if options.collect_only:
        return 0
    if options.resume and not options.out.is_file():
        print(f"{options.out} does not exist: leave --resume out to start anew.", file=sys.stderr)
        return 1
    data = load(options.data)
    net, state = Refiner(), {}
    if options.resume:
        state = torch.load(options.out, weights_only=True)
        net.load_state_dict(state["net"])
    print(f"{len(data['kind'])} pairs, {multiply_adds() / 1e6:.0f} M multiply-adds a crop")
    train(net, data, options.minutes, state)
    torch.save({**state, "net": net.state_dict()}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
