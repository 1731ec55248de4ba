"""Frames of many sessions at once, in torch: `avatar.render.decoder` for a batch, made to run on a GPU.

Every slot holds an identity; a frame of all slots has fixed shapes, reads nothing back and writes the same memory every
time. On CUDA it is captured in a graph at its first use and replayed afterwards. On the CPU, where it is only meant
for tests, it runs step by step. docs/face/gpu.md tells why it is made as it is, and what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.motion import limits, space
from avatar.render.batch import warp
from avatar.render.batch.boxes import Box, Patch, Room, coverage, extent, pixel_box
from avatar.render.batch.eyes import Lids, eye_colours
from avatar.render.batch.mouth import Opening, inside_points, vertex_values
from avatar.render.batch.raster import Drawn, Rasteriser, Target
from avatar.render.batch.shading import ShadingBatch
from avatar.render.batch.tables import PATCHES, Arrays, Slots, identity_arrays
from avatar.render.decoder import EDGE_REACH, FOLD_REACH, Decoder
from avatar.render.mouth import CONTACT_WIDTH
from avatar.render.raster import SUBLINES
from avatar.rig.batch import DeformedBatch, RigBatch
from avatar.rig.batch_slots import SlotRow, slot_row

if TYPE_CHECKING:
    from avatar.portrait.store import Identity

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

LIPS_SHARE: Final = (0.44, 0.34)
EYE_SHARE: Final = (0.22, 0.14)
OPENING_SHARE: Final = (0.34, 0.26)
"""Width and height of the room for the patches over lips, an eye, the mouth's opening / side of the frame."""
PIXEL_PLACES: Final = 2.5
"""Pixels that a slot's triangles may cover in all / pixels of the frame."""
ROW_PLACES: Final = (3, 200)
"""Pixel rows that they may cover: so many per triangle, and so many per row of the frame."""
ATTRIBUTES: Final = 5
"""Numbers per vertex that are interpolated: texture coordinates, or those of `mouth.vertex_values`."""
LIPS, EYES, OPENING = 1, 2, 4
"""The rasteriser's targets after the frame itself; of EYES there are two."""


class Prepared:
    """An identity made ready for a slot, off the frame path (about 0.3 s)."""

    def __init__(self, identity: Identity, *, size: int = 512) -> None:
        decoder = Decoder(identity, size=size)
        self.row: Final[SlotRow] = slot_row(decoder.rig)
        self.arrays: Final[Arrays] = identity_arrays(decoder)
        self.decoder: Final = decoder


class BatchDecoder:
    """Draws a frame of every slot per call. Not for use by two threads at once."""

    def __init__(
        self,
        identities: Sequence[Identity | Prepared],
        *,
        size: int = 512,
        device: str = "cuda",
        batch: int | None = None,
    ) -> None:
        """One slot per identity, or `batch` slots of which those left over hold the first identity.

        ValueError for no identity or more than slots, for identities of different versions, and for a device that is
        not there.
        """
        self.device: Final = find_device(device)
        self.size: Final = size
        ready = [i if isinstance(i, Prepared) else Prepared(i, size=size) for i in identities]
        self.batch: Final = batch or len(ready)
        self.rig: Final = RigBatch.build([r.row for r in ready], self.device, slots=self.batch)
        self.slots: Final = Slots.room(ready[0].arrays, self.batch, self.device)
        self._lay_out(ready[0].decoder)
        for slot in range(self.batch):
            self.set_slot(slot, ready[slot] if slot < len(ready) else ready[0])
        self._low_D, self._high_D = (torch.from_numpy(d).to(self.device) for d in (space.LOW_D, space.HIGH_D))
        self._motion_BD = torch.zeros(self.batch, space.DIM, device=self.device)

    def set_slot(self, slot: int, identity: Identity | Prepared) -> None:
        """Put an identity into a slot, between two frames; give a Prepared to keep the preparation off the way."""
        ready = identity if isinstance(identity, Prepared) else Prepared(identity, size=self.size)
        self.rig.set_slot(slot, ready.row)
        corners = ready.arrays["corners_3T"] + np.int32(slot * self._points)
        self.slots.put(slot, {**ready.arrays, "corners_3T": corners})
        self._shading.put(slot, self.slots)

    @torch.inference_mode()
    def render(self, motion_BD: F32 | Tensor) -> Tensor:
        """Frames of all slots, uint8 [B, size, size, 3] RGB on the device, overwritten by the next call.

        motion_BD: float32 [B, 52]; numbers out of range are clamped.
        """
        self._motion_BD.copy_(torch.as_tensor(motion_BD))
        return self._draw(self.rig.deform(limit_head(self.slots, self._motion_BD, self._low_D, self._high_D)))

    def _lay_out(self, decoder: Decoder) -> None:
        """What follows from the meshes and the frame's size alone."""
        size, mesh, rig, device = self.size, decoder._mesh, decoder.rig, self.device
        self._scale = size / rig.size
        self._skin_start = len(mesh.underlay.rest_U3)
        part = len(mesh.source_N2) - self._skin_start
        self._points = len(mesh.source_N2) + PATCHES * part + len(decoder._paint.place_P2)
        self._lips_room = Room(LIPS_SHARE, size, device)
        self._eye_room = Room(EYE_SHARE, size, device)
        self._opening_room = Room(OPENING_SHARE, size, device)
        self._frame_room = Room((1.0, 1.0), size, device)
        faces = len(mesh.face_triangles_T3)
        rooms = (self._lips_room, self._eye_room, self._eye_room, self._opening_room)
        counts = (faces, faces, faces, len(decoder._paint.triangles_Q3))
        targets = [Target(size, size, len(mesh.underlay.triangles_T3) + faces)]
        targets += [Target(2 * r.width, 2 * r.height, n) for r, n in zip(rooms, counts, strict=True)]
        triangles = sum(target.triangles for target in targets)
        self.raster: Final = Rasteriser(
            targets,
            slots=self.batch,
            rows=ROW_PLACES[0] * triangles + ROW_PLACES[1] * size,
            pixels=int(PIXEL_PLACES * size * size),
            attributes=ATTRIBUTES,
            device=device,
        )

        def index(rows: NDArray[np.int32]) -> Tensor:
            return torch.from_numpy(np.asarray(rows, np.int64)).to(device)

        self._oval_J, self._caps = index(rig.oval_ring), index(mesh.cap_rows)
        self._mouth_ring, self._lip_outer = index(rig.mouth_ring_M), index(rig.lip_outer_M)
        self._eye_rings, self._lids = (
            index(rig.eye_ring_2E.ravel()),
            index(np.stack([rig.lid_upper_2L, rig.lid_lower_2L]).ravel()),
        )
        self._shading = ShadingBatch(decoder._shading, self.batch, size, device)
        self._frame_BCX = torch.zeros(self.batch, 3, size * size + 1, device=device)
        self._clip_G2 = torch.tensor([[t.width, t.height] for t in targets], device=device, dtype=torch.float32)

    def _draw(self, face: DeformedBatch) -> Tensor:
        """The picture of deformed faces, uint8 [B, S, S, 3]."""
        slots, size, scale = self.slots, self.size, self._scale
        texture = self._shading.paint(slots, face)
        skin = warp.to_frame(face.skin_BV3, scale)
        flat = skin[..., :2]
        outer = flat.index_select(1, self._lip_outer)
        eye_rings = flat.index_select(1, self._eye_rings).unflatten(1, (2, -1)).flatten(0, 1)
        ring = skin.index_select(1, self._mouth_ring)
        width_B = slots.face_width_1[:, 0] * face.pose.scale_B * scale
        lips = Patch(pixel_box(outer, extent(outer) * EDGE_REACH, size), self._lips_room, size)
        eyes = Patch(pixel_box(eye_rings, extent(eye_rings) * EDGE_REACH, size), self._eye_room, size)
        opening = Patch(pixel_box(ring[..., :2], 3.0 * CONTACT_WIDTH * width_B, size), self._opening_room, size)
        drawn = self._raster(face, skin, lips.box, eyes.box, opening.box)

        map_2BD, there = self.raster.read(drawn, 0, EYES + 1, slice(1, 3))
        area = size * size
        map_2BX, there_BX = map_2BD[..., :area], there[:, :area]
        colours = warp.sample(texture, torch.cat([warp.stepped(map_2BX), map_2BD[..., area:]], -1))
        warped = colours[..., :area].round()
        picture = warp.over(warped, there_BX, slots.plate_3X)
        face_box = pixel_box(flat, FOLD_REACH * scale * slots.face_width_1[:, 0], size)
        inside = face_box.holds(self._frame_room.x_K, self._frame_room.y_K)
        frame = self._frame_BCX
        frame[..., :area] = warp.soften_folds(map_2BX, there_BX, warped, inside, picture)

        def edges(target: int, patch_B3K: Tensor, room: Room) -> Tensor:
            part = self.raster.part(target)
            shape = (room.height, room.width)
            return warp.smooth_edges(map_2BD[..., part], there[:, part], colours[:, :3, part], patch_B3K, shape)

        lips.write(frame, edges(LIPS, lips.read(frame), lips.room))
        both = torch.stack([edges(EYES + e, eyes.read(frame, e), eyes.room) for e in range(2)], 1)
        self._eyes(face, flat, eye_rings, eyes, frame, both)
        self._mouth(face, ring, width_B, drawn, opening, frame)
        out = (frame[..., :area] + 0.5).clamp(0.0, 255.0).to(torch.uint8)
        return out.unflatten(-1, (size, size)).permute(0, 2, 3, 1).contiguous()

    def _raster(self, face: DeformedBatch, skin_BV3: Tensor, lips: Box, eyes: Box, opening: Box) -> Drawn:
        """The warp's map of the frame and, twice as fine, of lips and eyes; and what is seen through the opening."""
        slots, scale, start = self.slots, self._scale, self._skin_start
        under = warp.to_frame(warp.underlay_points(slots, self.rig, face, self._oval_J), scale)
        points, source = warp.place(slots, under, skin_BV3, self._caps, face.mouth_gap_B, scale)
        boxes = torch.cat(
            [
                lips.corners_B4[:, None],
                eyes.corners_B4.unflatten(0, (-1, 2)),
                opening.corners_B4[:, None],
            ],
            1,
        )
        origin, size = boxes.split(2, -1)

        fine = warp.doubled(points[:, None, start:], origin[:, :PATCHES]).flatten(1, 2)
        edge = face.skin_BV3.index_select(1, self._mouth_ring)
        inside = warp.doubled(warp.to_frame(inside_points(face, edge), scale)[:, None], origin[:, PATCHES:])[:, 0]
        pad = torch.zeros(self.batch, points.shape[1] + fine.shape[1], ATTRIBUTES - 2, device=self.device)
        skin_source = source[:, start:]
        source = torch.cat([torch.cat([source, *[skin_source] * PATCHES], 1), pad], -1)
        values = torch.cat([source, vertex_values(slots, face.mouth_normals_BP3)], 1)
        table = torch.cat([torch.cat([points, fine, inside], 1), values], -1)
        clip = torch.minimum(torch.cat([self._clip_G2[:1].expand(self.batch, 1, 2), 2.0 * size], 1), self._clip_G2)
        return self.raster.draw(table.permute(2, 0, 1).flatten(1), slots.corners_3T, clip)

    def _eyes(
        self, face: DeformedBatch, flat_BV2: Tensor, rings: Tensor, eyes: Patch, frame: Tensor, both: Tensor
    ) -> None:
        """Both eyes into the frame. rings: [2B, E, 2]; both: the eyes' patches, edges smoothed, [B, 2, 3, K]."""
        room, origin = eyes.room, eyes.box.corners_B4[:, :2]
        cover = coverage(rings - origin[:, None], room.height, room.width, SUBLINES).flatten(1).unflatten(0, (-1, 2))
        at = torch.stack([room.x_K, room.y_K])[:, None, None] + origin.T.unflatten(1, (-1, 2))[..., None]
        upper, lower = flat_BV2.index_select(1, self._lids).unflatten(1, (2, 2, -1)).unbind(1)
        at = at.unflatten(-1, (room.height, room.width))
        lids = Lids(self.slots, upper, lower, at, face.pose.scale_B, self._scale)
        colour = eye_colours(self.slots, self.rig, face, lids.light(), at, self._scale)
        picture = torch.lerp(
            both.unflatten(-1, colour.shape[-2:]), colour, cover.unflatten(-1, colour.shape[-2:])[:, :, None]
        )
        picture = lids.draw_lashes(picture).flatten(3)
        for eye in range(2):
            eyes.write(frame, picture[:, eye], eye)

    def _mouth(
        self, face: DeformedBatch, ring_BM3: Tensor, width_B: Tensor, drawn: Drawn, patch: Patch, frame: Tensor
    ) -> None:
        """The mouth's inside and the line of contact into the frame."""
        room = patch.room
        origin = torch.nn.functional.pad(patch.box.corners_B4[:, None, :2], (0, 1))
        ring = ring_BM3 - origin
        cover = coverage(ring[..., :2], room.height, room.width, SUBLINES)
        opening = Opening(ring, cover, face.mouth_gap_B * self._scale, width_B)
        values, there = self.raster.read(drawn, OPENING, OPENING, slice(0, 1 + ATTRIBUTES))
        picture = patch.read(frame).unflatten(-1, (room.height, room.width))
        picture = opening.compose(self.slots, values, there, picture)
        patch.write(frame, opening.darken(self.slots, picture).flatten(2))


def limit_head(slots: Slots, motion_BD: Tensor, low_D: Tensor, high_D: Tensor) -> Tensor:
    """space.clamp and motion.limits.limit_head."""
    motion = torch.nan_to_num(motion_BD, nan=0.0, posinf=1e9, neginf=-1e9)
    motion = torch.minimum(torch.maximum(motion, low_D), high_D)
    turns = motion[:, limits.TURNS]
    limit = torch.where(turns < 0, slots.limit_23[:, 0], slots.limit_23[:, 1])
    knee = limits.KNEE * limit
    room = (limit - knee).clamp(min=1e-6)
    beyond = (turns.abs() - knee).clamp(min=0.0)
    pressed = turns.sign() * (knee + room * torch.tanh(beyond / room))
    pressed = torch.where(beyond > 0.0, pressed, turns)
    return torch.cat([motion[:, : limits.TURNS.start], pressed, motion[:, limits.TURNS.stop :]], 1)


def find_device(name: str) -> torch.device:
    """The device of this name. ValueError when it is CUDA and there is none."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "There is no CUDA device here. Set the decoder's device to 'cpu', or install an NVIDIA driver."
        )
    return device
