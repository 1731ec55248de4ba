"""What the batched decoder's tests draw: three identities, and motions from rest to extremes."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from avatar.identity import prepare_identity
from avatar.motion import space
from avatar.portrait.store import Identity
from avatar.render.batch.decoder import BatchDecoder, Prepared
from avatar.render.decoder import Decoder
from avatar.render.output import FrameFormat
from tests.portrait_pictures import astronaut, encoded
from tests.render_samples import identity, motion

F32 = NDArray[np.float32]
SIZE = 256
torch.set_num_threads(1)  # a frame is a thousand small operations: waiting for a second thread each time takes minutes


@cache
def identities() -> tuple[Identity, ...]:
    """The default presenter; a photo; the same photo dark, bluish and mirrored."""
    photo = astronaut()
    dark = np.clip(photo[:, ::-1] * np.array([0.4, 0.45, 0.6]), 0, 255).astype(np.uint8)
    return identity(), *(prepare_identity(encoded(picture)) for picture in (photo, dark))


@cache
def prepared(which: int, format: FrameFormat | None = None) -> Prepared:
    return Prepared(identities()[which], format=format or FrameFormat(SIZE))


@cache
def batch(slots: int = 3, format: FrameFormat | None = None) -> BatchDecoder:
    """A batch of the identities in turn, on the CPU."""
    ready = [prepared(slot % 3, format) for slot in range(slots)]
    return BatchDecoder(ready, format=format or FrameFormat(SIZE), device="cpu")


@cache
def alone(which: int, format: FrameFormat | None = None) -> Decoder:
    return Decoder(identities()[which], format=format or FrameFormat(SIZE))


def named_motions() -> dict[str, F32]:
    """Motions that bring every stage to work."""
    return {
        "rest": motion(),
        "speaks": motion(jawOpen=0.35, mouthLowerDown=0.3, mouthUpperUp=0.2, tongueHeight=0.6, headYaw=0.06),
        "hardly open": motion(jawOpen=0.02),
        "sealed": motion(jawOpen=0.2, mouthClose=0.2, mouthPress=0.3),
        "smiles": motion(mouthSmile=0.9, cheekSquint=0.6, headRoll=-0.1, headX=0.2),
        "frowns": motion(browDown=1.0, mouthFrown=0.8, noseSneer=0.7, headY=-0.05),
        "surprised": motion(browInnerUp=1.0, browOuterUp=1.0, jawOpen=0.6, eyeWide=1.0),
        "blinks": motion(eyeBlink=1.0, browDown=0.5),
        "half closed": motion(eyeBlinkLeft=0.5, eyeBlinkRight=0.7, gazeElevation=-0.2, gazeAzimuth=0.3),
        "turned": motion(headYaw=0.26, headPitch=-0.17, headRoll=0.17, jawOpen=0.5, mouthPucker=0.8),
        "near": motion(headLogScale=0.25, headYaw=-0.26, headPitch=0.17, jawOpen=0.6, mouthSmile=1.0, eyeWide=1.0),
        "far": motion(headLogScale=-0.25, headX=-0.25, headY=0.25, jawOpen=0.3),
    }


def wild(seed: int) -> F32:
    """Every number at one of its limits."""
    pick = np.random.default_rng(seed).random(space.DIM) < 0.5
    return np.where(pick, space.LOW_D, space.HIGH_D).astype(np.float32)


def decibel(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio of two pictures."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 99.0 if error == 0.0 else float(10.0 * np.log10(255.0**2 / error))
