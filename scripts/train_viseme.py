"""Train the viseme network on the corpus of make_speech_corpus.py.

    python -m scripts.train_viseme --corpus /tmp/corpus --out /tmp/viseme --minutes 40
    python -m scripts.train_viseme --corpus /tmp/corpus --out /tmp/viseme --export avatar/motion/data/viseme.safetensors

Resumes from OUT/checkpoint.pt; writes OUT/log.csv. Synthetic voices whose name hashes to 0 (mod 12), flite's
kal16, all of LJSpeech and all of GRID are never trained on.
Shape suffixes: B = batch, T = frames, M = mels, V = visemes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn

from avatar.audio.features import LOG_FLOOR, MELS, RunningNorm, mel_filters
from avatar.audio.phones import VISEMES
from avatar.clock import STREAM_RATE
from avatar.motion.viseme_net import BLOCKS, STACK

WIDTH = 144
CROP = 400
BATCH = 16
CLASS_WEIGHT = {"PP": 1.3, "FF": 1.3, "TH": 1.2, "sil": 0.8}
HELD_OUT = "flite-kal16"
TEST_ONLY = {"real-lj", "real-grid"}


class Block(nn.Module):
    """Dilated convolution over three frames, then pointwise, with a residual.

    The convolution is one product over three joined frames: on a CPU several times faster than Conv1d.
    """

    def __init__(self, dilation: int, ahead: int) -> None:
        super().__init__()
        self.dilation, self.ahead = dilation, ahead
        self.conv = nn.Linear(3 * WIDTH, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.drop = nn.Dropout(0.05)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x_BTW: Tensor) -> Tensor:
        d, frames = self.dilation, x_BTW.shape[1]
        padded = nn.functional.pad(x_BTW, (0, 0, 2 * d - self.ahead, self.ahead))
        taps = torch.cat([padded[:, i * d : i * d + frames] for i in range(3)], dim=2)
        out_BTW: Tensor = x_BTW + self.out(self.drop(torch.relu(normed(self.norm, self.conv(taps)))))
        return out_BTW


def normed(norm: nn.BatchNorm1d, x_BTW: Tensor) -> Tensor:
    """Batch normalisation over batch and time."""
    out_BTW: Tensor = norm(x_BTW.flatten(0, 1)).view_as(x_BTW)
    return out_BTW


class TrainedNet(nn.Module):
    """The network as it is trained; avatar.motion.viseme_net is how it is streamed."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(STACK * MELS, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.blocks = nn.ModuleList(Block(d, a) for d, a in BLOCKS)
        self.head = nn.Linear(WIDTH, STACK * len(VISEMES))

    def forward(self, mel_BTM: Tensor) -> Tensor:
        """Logits [B, T, V]; T even."""
        batch, frames, _ = mel_BTM.shape
        x = torch.relu(normed(self.norm, self.inp(mel_BTM.reshape(batch, frames // STACK, STACK * MELS))))
        for block in self.blocks:
            x = block(x)
        logit_BTV: Tensor = self.head(torch.relu(x)).reshape(batch, frames, len(VISEMES))
        return logit_BTV


def _folded(linear: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Weight [in, out] and bias with the normalisation that follows folded in."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (linear.weight * scale[:, None]).T, (linear.bias - norm.running_mean) * scale + norm.bias


@torch.no_grad()
def export(net: TrainedNet) -> dict[str, NDArray[np.float16]]:
    """Weights under the names and shapes that viseme_net reads, float16."""
    out: dict[str, Tensor] = {}
    out["in.weight"], out["in.bias"] = _folded(net.inp, net.norm)
    for i, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        out[f"block{i}.conv.weight"], out[f"block{i}.conv.bias"] = _folded(block.conv, block.norm)
        out[f"block{i}.out.weight"], out[f"block{i}.out.bias"] = block.out.weight.T, block.out.bias
    out["head.weight"], out["head.bias"] = net.head.weight.T, net.head.bias
    return {name: np.ascontiguousarray(tensor.numpy().astype(np.float16)) for name, tensor in out.items()}


# ---------------------------------------------------------------- data


class Corpus:
    """Shards in memory; crops that start at utterances or anywhere."""

    def __init__(self, folder: Path, real_share: float) -> None:
        self.synthetic: list[tuple[NDArray[np.float16], NDArray[np.uint8]]] = []
        self.real: list[tuple[NDArray[np.float16], NDArray[np.uint8]]] = []
        self.held_out: list[tuple[NDArray[np.float16], NDArray[np.uint8]]] = []
        self.real_share = real_share
        for path in sorted(folder.glob("*.npz")):
            if path.name.endswith(".tmp.npz") or path.stem in TEST_ONLY:
                continue
            shard = np.load(path)
            log_TM, viseme_T, offsets_N, voices_N = (shard[k] for k in ("log_TM", "viseme_T", "offsets_N", "voices_N"))
            keep_T = np.ones(len(viseme_T), dtype=bool)
            for start, stop, voice in zip(offsets_N[:-1], offsets_N[1:], voices_N, strict=True):
                if is_held_out(str(voice)):
                    keep_T[start:stop] = False
                    if len(self.held_out) < 150 and int(start) % 7 == 0:
                        self.held_out.append((log_TM[start:stop], viseme_T[start:stop]))
            part = (log_TM[keep_T], viseme_T[keep_T])
            if len(part[1]) > 2 * CROP:
                (self.real if path.stem.startswith("real-") else self.synthetic).append(part)
        minutes = [sum(len(v) for _, v in part) / 6000.0 for part in (self.synthetic, self.real, self.held_out)]
        print("minutes: synthetic {:.0f}, real {:.0f}, held out {:.0f}".format(*minutes), flush=True)

    def crop(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """A stretch of 0.75 to 1.3 times CROP frames, to be stretched to CROP."""
        pool = self.real if self.real and rng.random() < self.real_share else self.synthetic
        sizes = np.array([len(v) for _, v in pool], dtype=np.float64)
        log_TM, viseme_T = pool[int(rng.choice(len(pool), p=sizes / sizes.sum()))]
        length = int(CROP * np.exp(rng.uniform(-0.27, 0.27)))
        start = int(rng.integers(len(viseme_T) - length))
        return log_TM[start : start + length].astype(np.float32), viseme_T[start : start + length]


def is_held_out(voice: str) -> bool:
    """Voices that training never hears."""
    return voice == HELD_OUT or (voice.startswith("espeak") and zlib.crc32(voice.encode()) % 12 == 0)


_MEL_HZ = (mel_filters() * np.fft.rfftfreq(1024, 1 / STREAM_RATE)[:, None]).sum(0) / mel_filters().sum(0)


def augment(
    log_TM: NDArray[np.float32], viseme_T: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Another recording of the same speech: tempo, vocal tract, room, channel, noise, level; then normalised."""
    at_T = np.linspace(0, len(log_TM) - 1, CROP)
    viseme_T = viseme_T[np.round(at_T).astype(int)]
    low_T = at_T.astype(int)
    part_T = (at_T - low_T)[:, None].astype(np.float32)
    log_TM = (1 - part_T) * log_TM[low_T] + part_T * log_TM[np.minimum(low_T + 1, len(log_TM) - 1)]

    warp = float(np.exp(rng.normal(0.0, 0.07)))
    source_M = np.interp(_MEL_HZ * warp, _MEL_HZ, np.arange(MELS))
    low_M = np.minimum(source_M.astype(int), MELS - 2)
    part_M = (source_M - low_M).astype(np.float32)
    log_TM = (1 - part_M) * log_TM[:, low_M] + part_M * log_TM[:, low_M + 1]

    power_TM = np.exp(log_TM)
    if rng.random() < 0.25:  # a pause for thought
        start, length = int(rng.integers(CROP)), int(rng.integers(40, 220))
        power_TM[start : start + length] *= 1e-5
        viseme_T = viseme_T.copy()
        viseme_T[start : start + length] = 0
    if rng.random() < 0.35:  # a room smears power in time
        decay = float(np.exp(-13.8 * 0.01 / rng.uniform(0.15, 0.6)))
        share = rng.uniform(0.05, 0.35)
        tail_M = np.zeros(MELS, dtype=np.float32)
        for t in range(1, CROP):
            tail_M = decay * (tail_M + power_TM[t - 1] * (1 - decay))
            power_TM[t] += share * tail_M
    channel_M = rng.normal(0.0, 0.6) * np.linspace(-1, 1, MELS)
    knots = rng.normal(0.0, 0.7, 7)
    channel_M = channel_M + np.interp(np.arange(MELS), np.linspace(0, MELS - 1, 7), knots)
    if rng.random() < 0.2:
        channel_M[rng.uniform(3000, 6000) < _MEL_HZ] -= rng.uniform(3.0, 9.0)
    if rng.random() < 0.2:
        channel_M[rng.uniform(120, 350) > _MEL_HZ] -= rng.uniform(2.0, 6.0)
    power_TM *= np.exp(channel_M).astype(np.float32)
    if rng.random() < 0.7:
        snr = rng.uniform(4.0, 40.0)
        colour_M = np.exp(rng.normal(0.0, 1.2) * np.linspace(-1, 1, MELS) + rng.normal(0.0, 0.4, MELS))
        loud = np.percentile(power_TM.mean(1), 90)
        noise_M = loud * 10 ** (-snr / 10) * colour_M / colour_M.mean()
        if rng.random() < 0.3:  # unsteady noise
            swell_T = np.interp(np.arange(CROP), np.linspace(0, CROP, 20), rng.gamma(1.5, 0.7, 20))
            noise_M = noise_M * swell_T[:, None]
        power_TM += (noise_M * rng.gamma(3.0, 1 / 3.0, power_TM.shape)).astype(np.float32)
    level = float(10 ** (rng.uniform(-26.0, 8.0) / 10))
    log_TM = np.log(power_TM * level + LOG_FLOOR * rng.uniform(1.0, 20.0)).astype(np.float32)
    norm = RunningNorm()
    if rng.random() < 0.5:  # in mid-stream: the mean knows the voice already
        norm.apply(log_TM[: int(rng.integers(CROP))])
    return norm.apply(log_TM), viseme_T.astype(np.int64)


def batch(corpus: Corpus, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """mel_BTM float32 and viseme_BT int64."""
    pairs = [augment(*corpus.crop(rng), rng) for _ in range(BATCH)]
    mel_BTM, viseme_BT = np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
    return torch.from_numpy(mel_BTM), torch.from_numpy(viseme_BT)


def accuracy(net: TrainedNet, clips: list[tuple[NDArray[np.float16], NDArray[np.uint8]]]) -> float:
    """Share of 10 ms frames with the right viseme, each clip from a fresh start."""
    net.eval()
    right = total = 0
    with torch.inference_mode():
        for log_TM, viseme_T in clips:
            viseme_T = viseme_T[: len(viseme_T) // STACK * STACK]
            mel_TM = RunningNorm().apply(log_TM[: len(viseme_T)].astype(np.float32))
            guess_T = net(torch.from_numpy(mel_TM[None]))[0].argmax(1).numpy()
            right += int((guess_T == viseme_T).sum())
            total += len(viseme_T)
    net.train()
    return right / max(1, total)


def lj_clips(folder: Path) -> list[tuple[NDArray[np.float16], NDArray[np.uint8]]]:
    """Real test clips, for the log only: nothing is selected by them."""
    path = folder / "real-lj.npz"
    if not path.exists():
        return []
    shard = np.load(path)
    log_TM, viseme_T, offsets_N = shard["log_TM"], shard["viseme_T"], shard["offsets_N"]
    return [(log_TM[a:b], viseme_T[a:b]) for a, b in itertools.pairwise(offsets_N)]


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    net = TrainedNet()
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01)
    step, spent = 0, 0.0
    checkpoint = out / "checkpoint.pt"
    if arguments.init and not checkpoint.exists():
        warm = torch.load(arguments.init, weights_only=True)
        net.load_state_dict(warm["net"])
        average.load_state_dict(warm["average"])
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = int(saved["step"]), float(saved["spent"])
    corpus = Corpus(arguments.corpus, arguments.real_share)
    real_test = lj_clips(arguments.corpus)
    weight_V = torch.tensor([CLASS_WEIGHT.get(v, 1.0) for v in VISEMES])
    criterion = nn.CrossEntropyLoss(weight=weight_V, label_smoothing=0.05)
    rng = np.random.default_rng([arguments.seed, step])
    budget = arguments.minutes * 60.0
    started, losses, last_saved = time.monotonic(), [], time.monotonic()
    while spent < budget:
        warm_up = min(1.0, (step + 1) / 100)
        for group in optimiser.param_groups:  # cosine over the time there is
            group["lr"] = arguments.rate * warm_up * (0.02 + 0.49 * (1 + math.cos(math.pi * spent / budget)))
        mel_BTM, viseme_BT = batch(corpus, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.bf16):
            logit_BTV = net(mel_BTM)
        loss = criterion(logit_BTV.float().flatten(0, 1), viseme_BT.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(net)
        losses.append(float(loss.detach()))
        step += 1
        now = time.monotonic()
        spent += now - started
        started = now
        if now - last_saved > arguments.save_every or spent >= budget:
            last_saved = now
            averaged = average.module
            row = [step, round(spent), round(float(np.mean(losses)), 4)]
            row += [round(accuracy(averaged, clips), 4) if clips else "" for clips in (corpus.held_out, real_test)]
            losses = []
            state = {"net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step, "spent": spent}, checkpoint)
            fresh = not (out / "log.csv").exists()
            with (out / "log.csv").open("a", newline="") as file:
                writer = csv.writer(file)
                if fresh:
                    writer.writerow(["step", "seconds", "loss", "held_out_synthetic", "ljspeech"])
                writer.writerow(row)
            print(*row, flush=True)
            started = time.monotonic()  # evaluation is not training time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--minutes", type=float, default=40.0, help="training time in all, resumptions included")
    parser.add_argument("--real-share", type=float, default=0.15, help="share of crops from aligned recordings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 convolutions (faster where the CPU has them)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--init", type=Path, help="start from the weights of another checkpoint.pt")
    parser.add_argument("--export", type=Path, help="write the averaged weights there and stop")
    arguments = parser.parse_args()
    if arguments.export:
        net = TrainedNet()
        average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
        saved = torch.load(arguments.out / "checkpoint.pt", weights_only=True)
        average.load_state_dict(saved["average"])
        arguments.export.parent.mkdir(parents=True, exist_ok=True)
        save_file(export(average.module), str(arguments.export))
        print(f"{arguments.export}: {arguments.export.stat().st_size / 1e6:.2f} MB after {saved['step']} steps")
        return
    train(arguments)


if __name__ == "__main__":
    main()
