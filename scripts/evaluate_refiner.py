"""Does the refiner pay? Blind figures with and without it, on material it has not seen (docs/models/refiner.md).

    python -m scripts.evaluate_refiner --weights refiner.pt --data held_out.npz [--portraits FILE...] [--sheet DIR]

--data: pairs of scripts/train_refiner.py --collect-only, of portraits and clips that training did not see. --portraits:
frames of these go through the gallery's checks of mouth and flicker, with and without; --sheet writes mouths of both,
above and below (portraits may be of real people: keep it outside the repository). Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from avatar.quality.film import Film
from avatar.quality.measures import gradient_deviation, luma, psnr, ssim
from avatar.quality.mouth import check_lip_closure, check_rings, check_teeth
from avatar.quality.shots import all_shots, closed_frames, open_frames, repainted_frames, sweep_frames
from avatar.quality.stability import pop
from scripts.contact_sheet import box_around, cell, grid
from scripts.record_frames import Recorder
from scripts.refiner_data import KINDS
from scripts.refiner_net import HEIGHT, INPUTS, WIDTH, Refiner, refined
from scripts.train_refiner import load

U8 = NDArray[np.uint8]
HERE = Path(__file__).resolve().parents[1]


def on_pairs(net: nn.Module, data: dict[str, Any]) -> list[str]:
    """Lines of the table on held-out pairs: within lips and opening, and in the crop around them."""
    lines = ["| pairs | where | count | PSNR, dB | SSIM | gradient deviation |", "|---|---|---|---|---|---|"]
    with torch.inference_mode():
        seen = torch.from_numpy(data["seen"]).permute(0, 3, 1, 2).float() / 255
        got = np.concatenate([net(part).permute(0, 2, 3, 1).numpy() for part in seen.split(16)])
    got = (got * 255 + 0.5).clip(0, 255).astype(np.uint8)
    for number, kind in enumerate(KINDS):
        rows = np.flatnonzero(data["kind"] == number)
        for where in ("mouth", "around"):
            figures = []
            for row in rows:
                mouth = cv2.dilate(data["seen"][row, ..., 3:].max(-1), np.ones((5, 5), np.uint8)) > 0
                mask = mouth if where == "mouth" else ~mouth
                wanted = data["wanted"][row]
                figures += [
                    [f(picture, wanted, mask) for f in (psnr, ssim, gradient_deviation)]
                    for picture in (data["seen"][row, ..., :3], got[row])
                ]
            if not len(rows):
                continue
            left, new = np.nanmean(np.array(figures).reshape(len(rows), 2, 3), axis=0)
            cells = [f"{left[i]:.{d}f} → {new[i]:.{d}f}" for i, d in enumerate((2, 4, 4))]
            lines.append(f"| {kind} | {where} | {len(rows)} | {' | '.join(cells)} |")
    return lines


def with_refiner(net: nn.Module, film: Film) -> Film:
    """The film as it would be with the refiner in the frame path."""
    names = {*open_frames(), *closed_frames(), *sweep_frames("jaw"), "neutral"}
    changed = {n: refined(net, film.pictures[n], film.ring("mouth", n), film.ring("lips", n)) for n in names}
    return replace(film, pictures={**film.pictures, **changed})


def figures_of(film: Film, plain: Film) -> dict[str, float]:
    """Checks of one film; `plain` is the same without the refiner."""
    frames = sweep_frames("jaw")
    box = film.box("lips", [frames[0], frames[-1]], 0.03)
    stack = np.stack([luma(film.pictures[frame][box]) for frame in frames])
    shift = [
        np.abs(film.pictures[f].astype(np.int16) - plain.pictures[f])[film.box("lips", [f], 0.1)].mean()
        for f in (*closed_frames(), "neutral")
    ]
    rings, teeth, lips = check_rings(film), check_teeth(film), check_lip_closure(film)
    return {
        "ring": rings["ring"],
        "ring_depth": rings["ring_depth"],
        "wedge": rings["wedge"],
        "corner_black": rings["corner_black"],
        "teeth_gaps": teeth["teeth_gaps"],
        "teeth_pieces": teeth["teeth_pieces"],
        "lips_bright_line": lips["lips_bright_line"],
        "flicker_mouth": float(np.sqrt(np.square(np.diff(stack, 2, axis=0)).mean())),
        "pop_jaw": pop(film, frames, ("lips",)),
        "closed_change": float(np.mean(shift)),
    }


def on_portraits(net: nn.Module, portraits: Sequence[str], sheets: Path | None) -> list[str]:
    """Lines of the table of checks: mean over the portraits, without and with."""
    rows: list[list[dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as scratch, Recorder(HERE) as recorder:
        for portrait in portraits:
            file = Path(scratch) / "film.npz"
            problem = recorder.record(portrait, all_shots(), repainted_frames(), file)
            if problem is not None:
                print(f"{portrait}: {problem}", file=sys.stderr)
                continue
            plain = Film.load(file)
            film = with_refiner(net, plain)
            rows.append([figures_of(plain, plain), figures_of(film, plain)])
            if sheets is not None:
                picture = np.vstack([mouths(plain), mouths(film)])
                cv2.imwrite(str(sheets / f"{Path(portrait).stem}_refined.png"), picture[..., ::-1])
    lines = ["| check | without | with | portraits better / worse |", "|---|---|---|---|"]
    for name in rows[0][0] if rows else ():
        values = np.array([[figures[name] for figures in pair] for pair in rows])
        left, new = np.nanmean(values, axis=0)
        tolerance = 0.02 * np.abs(values[:, 0]) + 1e-6
        better = int((values[:, 1] < values[:, 0] - tolerance).sum())
        worse = int((values[:, 1] > values[:, 0] + tolerance).sum())
        lines.append(f"| {name} | {left:.4f} | {new:.4f} | {better} / {worse} |")
    return lines


def mouths(film: Film) -> U8:
    """Open and closed mouths in one row."""
    points = film.ring("mouth")
    box = box_around(points, film.face_width, "mouth", (film.size, film.size))
    names = ("neutral", "AA +0", "AA +12", "EE +0", "smile +0", "M +0", "jaw 08")
    return grid([cell(film.pictures[name], box, "mouth", name) for name in names], len(names))


def time_of(net: nn.Module, runs: int = 200) -> tuple[float, float]:
    """Least and median ms of one crop on one thread."""
    crop = torch.rand(1, INPUTS, HEIGHT, WIDTH).to(memory_format=torch.channels_last)
    spent = []
    with torch.inference_mode():
        for _ in range(runs):
            started = time.perf_counter()
            net(crop)
            spent.append((time.perf_counter() - started) * 1e3)
    return float(np.min(spent)), float(np.median(spent))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--portraits", nargs="*", default=[])
    parser.add_argument("--sheet", type=Path)
    options: Any = parser.parse_args(arguments)
    if options.sheet is not None:
        if HERE in (options.sheet.resolve(), *options.sheet.resolve().parents):
            parser.error(f"{options.sheet} lies in the repository.")
        options.sheet.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    state = torch.load(options.weights, weights_only=True)
    net = Refiner().eval()
    net.load_state_dict(state["net"])
    net = net.to(memory_format=torch.channels_last)
    least, median = time_of(net)
    print(f"{state['steps']} steps; one crop: least {least:.1f} ms, median {median:.1f} ms on one thread\n")
    print("\n".join(on_pairs(net, load(options.data))) + "\n")
    if options.portraits:
        print("\n".join(on_portraits(net, options.portraits, options.sheet)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
