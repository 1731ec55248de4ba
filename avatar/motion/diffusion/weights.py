"""Weights of the motion network as a safetensors file, with what is needed to use them.

Tensors carry the names of net.py's state_dict (float16 in the file), and besides
    norm.mean, norm.scale       float32 [52]: motion = normalised * scale + mean
    norm.reach                  float32 [AHEAD, 52]: how far slow channels go in 1, 2, .. frames; 1 for lips
    norm.audio_mean, norm.audio_scale   float32 [AUDIO]: the network sees (audio - mean) / scale
Metadata: size (a key of SIZES, or width/layers/heads), steps (flow steps the weights are meant for), guided ('yes' when
guidance is folded in), parameters, trained (a sentence for the record).

Needs neither torch nor pickle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from avatar.motion.diffusion.layout import AHEAD, AUDIO, LAYER_INPUTS
from avatar.motion.space import DIM

Floats = NDArray[np.float32]
FORMAT: Final = 2


@dataclass(frozen=True, slots=True)
class MotionWeights:
    """tensors: float32 by name; width, layers, heads: the network's size; steps: flow steps it is meant for."""

    tensors: dict[str, Floats]
    width: int
    layers: int
    heads: int
    steps: int
    meta: dict[str, str]

    @property
    def mean_D(self) -> Floats:
        """Mean of each motion channel in training, float32 [52]."""
        return self.tensors["norm.mean"]

    @property
    def scale_D(self) -> Floats:
        """Scale of each motion channel, float32 [52]."""
        return self.tensors["norm.scale"]


def save_weights(
    path: Path, tensors: dict[str, NDArray[np.floating]], *, width: int, layers: int, heads: int, steps: int,
    meta: dict[str, str],
) -> None:  # fmt: skip
    """Write a weights file; `tensors` as the module says. Network tensors become float16, norms stay float32."""
    stored = {
        name: np.ascontiguousarray(tensor.astype(np.float32 if name.startswith("norm.") else np.float16))
        for name, tensor in tensors.items()
    }
    sizes = {"width": width, "layers": layers, "heads": heads, "steps": steps, "format": FORMAT}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, str(path), metadata={"motion": json.dumps(sizes), **meta})


def load_weights(path: Path) -> MotionWeights:
    """Read a weights file. Raises ValueError when it is none, or was made for another version of visavis."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            meta = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: give the path of a motion model's .safetensors file.") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no motion model ({error}).") from None
    try:
        sizes = json.loads(meta["motion"])
        fits = sizes["format"] == FORMAT and tensors["token.weight"].shape == (sizes["width"], LAYER_INPUTS)
        fits = fits and tensors["norm.reach"].shape == (AHEAD, DIM)
        fits = fits and tensors["norm.mean"].shape == (DIM,) and tensors["norm.audio_mean"].shape == (AUDIO,)
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"{path} is no motion model of this version of visavis: train one with scripts/train_motion.py, "
            "or leave avatar.motion_model at 'small'."
        )
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError(f"{path} holds numbers that are not finite: the file is damaged, or its training diverged.")
    return MotionWeights(
        tensors, int(sizes["width"]), int(sizes["layers"]), int(sizes["heads"]), int(sizes["steps"]), meta
    )


@lru_cache(maxsize=2)
def shipped_weights(size: str = "small") -> MotionWeights:
    """The weights that come with visavis (docs/models/motion.md); ValueError when this size is not shipped."""
    name = f"motion_{size}.safetensors"
    found = resources.files("avatar.motion") / "data" / name
    if not found.is_file():
        raise ValueError(
            f"visavis ships no '{size}' motion model: use 'small', or train one "
            f"(scripts/train_motion.py --size {size}) and give its path as avatar.motion_model."
        )
    with resources.as_file(found) as path:
        return load_weights(path)
