"""Record what a decoder draws, for scripts/gallery.py: frames and geometry of one portrait after the other.

    PYTHONPATH=CHECKOUT python scripts/record_frames.py SIZE < jobs

It runs in a process of its own so that any checkout can be looked at, and so uses only what every version has:
`load_identity`, `Decoder(identity, size).render(motion)`, `decoder.rig`. A job is one line of JSON: {"portrait": path,
"shots": {name: 52 numbers}, "repaint": [names], "out": path}; the answer is one line: {"ok": true} or {"error": text}.
A shot of None is the portrait's own motion.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FAR = -1e29
TORN, SMEARED = 4.0, 0.2
"""A frame's pixel that steps over more portrait px than this, or less, is torn or smeared."""


class Recorder:
    """This script in a process of its own, with the decoder of a checkout. Use it in a `with` statement."""

    def __init__(self, checkout: Path, size: int = 512) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env={**os.environ, **threads, "PYTHONPATH": str(checkout)},
        )

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        self._process.wait(timeout=30)

    def record(self, portrait: str, shots: Mapping[str, Any], repaint: Sequence[str], out: Path) -> str | None:
        """Draw one portrait's frames into an .npz file; the reason when that was impossible. A shot that is None is the
        portrait's own motion."""
        lists = {name: None if motion is None else np.asarray(motion).tolist() for name, motion in shots.items()}
        path = portrait if portrait == "default" else str(Path(portrait).resolve())
        job = {"portrait": path, "shots": lists, "repaint": list(repaint), "out": str(out.resolve())}
        assert self._process.stdin and self._process.stdout
        line = ""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            return f"the recording process ended with {self._process.wait()}"
        answer = json.loads(line)
        return None if answer.get("ok") else str(answer["error"])


def main() -> int:
    """Answer jobs until the input ends."""
    cv2.setNumThreads(1)
    size = int(sys.argv[1])
    for line in sys.stdin:
        job = json.loads(line)
        try:
            record(job, size)
            answer: dict[str, Any] = {"ok": True}
        except Exception as error:  # a portrait that cannot be used is a row of the table
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    return 0


def record(job: dict[str, Any], size: int) -> None:
    """Draw all frames of one portrait and write them to an .npz file."""
    from avatar.identity import load_identity
    from avatar.portrait.store import Identity
    from avatar.render.decoder import Decoder

    identity = load_identity(job["portrait"])
    decoder = Decoder(identity, size=size)
    rig = decoder.rig
    scale = size / rig.size
    own = source_motion(rig)
    names = list(job["shots"])
    motions = [own if job["shots"][name] is None else np.array(job["shots"][name], np.float32) for name in names]
    pictures, skins, tears = [], [], []
    for motion in motions:
        pictures.append(np.array(decoder.render(motion)[..., :3]))
        skins.append(to_frame(rig.deform(shown(decoder, motion)).skin_V3, scale))
        tears.append(torn_and_smeared(decoder, identity.arrays["matte_HW"]))
    repainted = np.empty((0, size, size, 3), np.uint8)
    if job["repaint"]:
        green = Decoder(Identity(painted(identity.arrays, rig), identity.meta), size=size)
        repainted = np.stack([np.array(green.render(motions[names.index(name)])[..., :3]) for name in job["repaint"]])
    np.savez(
        job["out"],
        names=np.array(names),
        pictures=np.stack(pictures),
        skins=np.stack(skins),
        tears=np.array(tears, np.float64),
        repaint=np.array(job["repaint"], dtype=str),
        repainted=repainted,
        portrait=resized(identity.arrays["rgb_HW3"], size),
        matte=resized(identity.arrays["matte_HW"].astype(np.float32), size),
        rest=to_frame(rig.rest_V3, scale),
        triangles=rig.triangles_T3,
        ring_mouth=rig.mouth_ring_M,
        ring_lips=rig.lip_outer_M,
        ring_eye0=rig.eye_ring_2E[0],
        ring_eye1=rig.eye_ring_2E[1],
        ring_oval=rig.oval_ring,
        ring_upper=rig.lip_upper_L,
        ring_lower=rig.lip_lower_L,
        landmarks=rig.landmarks_468,
        face_width=np.array(rig.face_width * scale),
    )


def painted(arrays: dict[str, Any], rig: Any) -> dict[str, Any]:
    """The identity's arrays with the mouth's inside and the eyes in green."""
    out = dict(arrays)
    for name in ("rig.mouth.colour_P3", "render.mouth_HW3", "render.mouth_tone_43", "render.sclera_2SS3"):
        if name in out:
            out[name] = np.zeros_like(out[name]) + np.array([0, 255, 0], out[name].dtype)
    if "render.person_HW4" in out:
        person = out["render.person_HW4"] = np.array(out["render.person_HW4"])
        eyes = np.zeros(person.shape[:2], np.uint8)
        for ring in rig.eye_ring_2E:
            cv2.fillPoly(eyes, [np.rint(rig.rest_V3[ring, :2] * 16).astype(np.int32)], 1, shift=4)
        person[cv2.erode(eyes, np.ones((3, 3), np.uint8)) > 0, :3] = (0, 255, 0)
    return out


def source_motion(rig: Any) -> Any:
    """The motion that is the portrait itself."""
    out = np.zeros(52, np.float32)
    out[: len(rig.source_expression_K)] = rig.source_expression_K
    out[50:52] = rig.eyes.source_gaze_2
    return out


def shown(decoder: Any, motion: Any) -> Any:
    """The motion that a decoder really draws: newer ones keep the head inside what the portrait can show."""
    if not hasattr(decoder, "safe_range_23"):
        return motion
    from avatar.motion.limits import limit_head

    return limit_head(motion, decoder.safe_range_23)


def to_frame(points: Any, scale: float) -> Any:
    """px of the portrait -> px of the frame."""
    out = np.array(points, np.float32) * np.float32(scale)
    out[:, :2] += np.float32((scale - 1) / 2)
    return out


def resized(picture: Any, size: int) -> Any:
    """The picture in the frame's size."""
    return picture if len(picture) == size else cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def torn_and_smeared(decoder: Any, matte_HW: Any) -> tuple[float, float]:
    """Shares of the person's pixels at which the decoder's own map tears or smears; NaN where it has none to show."""
    map_2HW, depth_HW = getattr(decoder, "_map_2HW", None), getattr(decoder, "_depth_HW", None)
    size = decoder.size
    if getattr(map_2HW, "shape", None) != (2, size, size) or getattr(depth_HW, "shape", None) != (size, size):
        return float("nan"), float("nan")
    matte = cv2.remap(
        resized(matte_HW, size), map_2HW[0], map_2HW[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    person = (depth_HW > FAR) & (matte > 0.5)
    person = cv2.erode(person.astype(np.uint8), np.ones((3, 3), np.uint8))[:-1, :-1] > 0
    right, down = np.diff(map_2HW, axis=2)[:, :-1], np.diff(map_2HW, axis=1)[:, :, :-1]
    jump = np.maximum(np.abs(np.diff(depth_HW, axis=1)[:-1]), np.abs(np.diff(depth_HW, axis=0)[:, :-1]))
    whole = person & (jump < 0.04 * decoder.rig.face_width * size / decoder.rig.size)
    # singular values of the 2 x 2 matrix [right down]
    square = (right**2 + down**2).sum(0) / 2
    spread = np.sqrt(np.square((right**2 - down**2).sum(0) / 2) + np.square((right * down).sum(0)))
    largest, smallest = np.sqrt(square + spread), np.sqrt(np.maximum(square - spread, 0))
    count = max(int(person.sum()), 1)
    return float((whole & (largest > TORN)).sum() / count), float((whole & (smallest < SMEARED)).sum() / count)


if __name__ == "__main__":
    sys.exit(main())
