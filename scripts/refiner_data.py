"""What the refiner learns from: crops of the mouth as the decoder draws them, beside better ones.

Three kinds of pairs:
- *fine*: the decoder at 512 px, and at 1024 px averaged down (edges and texture sampled four times as densely);
- *trip*: the portrait carried into a pose by the decoder and back by the rig, drawn again with that worn texture, and
  the portrait's real pixels;
- *video*: a frame of a clip as portrait, moved as another frame of the same clip was seen to move, and that other
  frame's real pixels, laid over by a similarity of eyes and nose.

Portraits for weights that are to be kept: the default presenter, paintings, the NASA portrait, GRID (CC BY 4.0). Never
photographs of people who did not agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.errors import PortraitError
from avatar.identity import load_identity, prepare_identity
from avatar.motion import space
from avatar.motion.limits import limit_head
from avatar.portrait.analyse import analyse
from avatar.portrait.image import load_image
from avatar.portrait.store import Identity
from avatar.quality.film import carry, grown, polygon
from avatar.render.decoder import Decoder
from avatar.rig.fit import fit_rig
from scripts.record_frames import source_motion, to_frame
from scripts.refiner_net import HEIGHT, WIDTH, crop_of, place

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

SIZE: Final = 512
KINDS: Final = ("fine", "trip", "video")
_STEADY: Final = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 98, 327)
"""Landmarks of eye corners and nose, by which a video's frame is laid over."""
_LIPS: Final = (61, 291, 13, 14, 0, 17)
_OFF_MOST: Final = 3.0
"""px that the lips of the drawn and the real frame may lie apart; beyond, the tracking is not good enough to learn."""


@dataclass(frozen=True)
class Pair:
    """One example."""

    seen_HWC: U8
    """The crop as drawn, with opening and lips."""
    wanted_HW3: U8
    kind: int
    off_px: float = 0.0
    """Video: how far the lips lie apart after tracking."""


def random_motion(random: np.random.Generator) -> F32:
    """A speaking face: some channels of the mouth, any opening, a turned head."""
    motion = space.neutral()
    mouth = [i for i, name in enumerate(space.ARKIT_NAMES) if name.startswith(("mouth", "cheek", "noseSneer", "jaw"))]
    for index in random.choice(mouth, 5, replace=False):
        motion[index] = random.random() * 0.7 * space.HIGH_D[index]
    if random.random() < 0.25:
        motion[space.INDEX["mouthClose"]] = 1.0
    motion[space.INDEX["jawOpen"]] = random.random() ** 1.5 * 0.5
    motion[space.INDEX["tongueHeight"]] = random.random() * (random.random() < 0.3)
    turn = slice(space.INDEX["headYaw"], space.INDEX["headRoll"] + 1)
    motion[turn] = (space.LOW_D[turn] + random.random(3) * (space.HIGH_D - space.LOW_D)[turn]) * 0.8
    return motion


def fine_pairs(identity: Identity, count: int, random: np.random.Generator) -> Iterator[Pair]:
    """Drawn at the frames' size, and at twice that."""
    plain, twice = Decoder(identity, size=SIZE), Decoder(identity, size=2 * SIZE)
    for _ in range(count):
        motion = random_motion(random)
        picture = plain.render(motion)
        better = cv2.resize(twice.render(motion), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        yield cut(plain, motion, picture, np.asarray(better, np.uint8), 0)


def trip_pairs(identity: Identity, count: int, random: np.random.Generator) -> Iterator[Pair]:
    """There and back."""
    decoder = Decoder(identity, size=SIZE)
    rig, own = decoder.rig, source_motion(decoder.rig)
    portrait = identity.arrays["rgb_HW3"]
    plain = polygon(rig.rest_V3[rig.oval_ring, :2], SIZE) & ~grown(polygon(rig.rest_V3[rig.mouth_ring_M, :2], SIZE), 2)
    for _ in range(count):
        motion = random_motion(random)
        picture = decoder.render(motion)
        skin = to_frame(rig.deform(limit_head(motion, decoder.safe_range_23)).skin_V3, 1.0)
        map_HW2, there = carry(rig.rest_V3, skin[:, :2], rig.triangles_T3, SIZE)
        back = cv2.remap(picture, map_HW2[..., 0], map_HW2[..., 1], cv2.INTER_LINEAR)
        arrays = dict(identity.arrays)
        person = arrays["render.person_HW4"] = arrays["render.person_HW4"].copy()
        worn = there & plain
        person[worn, :3] = back[worn]
        drawn = Decoder(Identity(arrays, identity.meta), size=SIZE).render(own)
        yield cut(decoder, own, drawn, portrait, 1)


def video_pairs(clip: Path, every: int) -> Iterator[Pair]:
    """A clip's first frame as portrait, moved like its others."""
    frames = []
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    try:
        identity = prepare_identity(png(frames[0]))
    except PortraitError:
        return
    decoder = Decoder(identity, size=SIZE)
    rig = decoder.rig
    for frame in frames[every::every]:
        try:
            seen = analyse(load_image(png(frame)), size=SIZE)
        except PortraitError:
            continue
        other = fit_rig(seen)
        motion = space.neutral()
        motion[: space.EXPRESSION_DIM] = other.source_expression_K
        motion[space.GAZE] = other.eyes.source_gaze_2
        motion[space.HEAD][:3] = angles(other.R_source_33 @ rig.R_source_33.T)
        motion = limit_head(motion, decoder.safe_range_23)
        skin = rig.deform(motion).skin_V3
        drawn_points = skin[rig.landmarks_468, :2]
        M_23, _ = cv2.estimateAffinePartial2D(
            seen.landmarks_N3[list(_STEADY), :2].astype(np.float64), drawn_points[list(_STEADY)].astype(np.float64)
        )
        real_points = seen.landmarks_N3[list(_LIPS), :2] @ M_23[:, :2].T + M_23[:, 2]
        off = float(np.linalg.norm(real_points - drawn_points[list(_LIPS)], axis=1).mean())
        if off <= _OFF_MOST:
            real = cv2.warpAffine(
                seen.rgb_HW3, M_23, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
            yield cut(decoder, motion, decoder.render(motion), np.asarray(real, np.uint8), 2, off)


def angles(R_33: F32) -> F32:
    """yaw, pitch, roll of a rotation composed as the rig's (avatar/rig/deform.head_pose)."""
    yaw = np.arctan2(R_33[0, 2], R_33[2, 2])
    pitch = np.arcsin(np.clip(-R_33[1, 2], -1, 1))
    roll = np.arctan2(R_33[1, 0], R_33[1, 1])
    return np.array([yaw, pitch, roll], np.float32)


def cut(decoder: Decoder, motion_D: F32, drawn: U8, wanted: U8, kind: int, off: float = 0.0) -> Pair:
    """The mouth of both pictures."""
    rig = decoder.rig
    skin = rig.deform(limit_head(motion_D, decoder.safe_range_23)).skin_V3
    opening, lips = (np.ascontiguousarray(skin[ring, :2]) for ring in (rig.mouth_ring_M, rig.lip_outer_M))
    top, left = place(lips, SIZE)
    crop = crop_of(drawn, opening, lips, (top, left))
    return Pair(crop, np.ascontiguousarray(wanted[top : top + HEIGHT, left : left + WIDTH, :3]), kind, off)


def png(picture: U8) -> bytes:
    """As a file."""
    return bytes(cv2.imencode(".png", picture[..., ::-1])[1])


def collect(
    portraits: list[str], clips: list[Path], fine: int, trips: int, every: int, seed: int
) -> dict[str, NDArray[Any]]:
    """All pairs as arrays: seen [N, H, W, 5], wanted [N, H, W, 3], kind, source (which portrait or clip), off."""
    random = np.random.default_rng(seed)
    pairs: list[tuple[Pair, int]] = []
    for number, portrait in enumerate(portraits):
        identity = load_identity(portrait)
        for made in (fine_pairs(identity, fine, random), trip_pairs(identity, trips, random)):
            pairs += [(pair, number) for pair in made]
        print(f"{Path(portrait).stem}: {len(pairs)} pairs", flush=True)
    for number, clip in enumerate(clips):
        pairs += [(pair, len(portraits) + number) for pair in video_pairs(clip, every)]
        print(f"{clip.stem}: {len(pairs)} pairs", flush=True)
    return {
        "seen": np.stack([pair.seen_HWC for pair, _ in pairs]),
        "wanted": np.stack([pair.wanted_HW3 for pair, _ in pairs]),
        "kind": np.array([pair.kind for pair, _ in pairs]),
        "source": np.array([number for _, number in pairs]),
        "off": np.array([pair.off_px for pair, _ in pairs]),
    }
