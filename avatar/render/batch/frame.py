"""One frame of all slots: deformed faces in, pictures out. The stages are those of `avatar.render.decoder`.

Fixed shapes, nothing read back by the host, the same memory every time: it can be captured in a CUDA graph.

Shape suffixes: B slots, S side of the square, X = S * S pixels and one more that takes what is written nowhere,
K pixels of a patch, D pixels of all the rasteriser's targets, V skin vertices, M mouth ring, E eye ring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from avatar.render.batch import warp
from avatar.render.batch.boxes import Box, Patch, Room, coverage, extent, pixel_box
from avatar.render.batch.eyes import Lids, eye_colours
from avatar.render.batch.mouth import Opening, inside_points, vertex_values
from avatar.render.batch.raster import Drawn, Rasteriser, Target
from avatar.render.batch.shading import ShadingBatch
from avatar.render.batch.tables import PATCHES, Layout, Slots
from avatar.render.decoder import EDGE_REACH, FOLD_REACH
from avatar.render.mouth import CONTACT_WIDTH
from avatar.rig.batch import DeformedBatch, RigBatch

LIPS_SHARE: Final = (0.48, 0.30)
EYE_SHARE: Final = (0.22, 0.125)
OPENING_SHARE: Final = (0.38, 0.22)
"""Width and height of the room for the patches over lips, an eye, the mouth's opening / side of the frame."""
PIXEL_PLACES: Final = 2.1
"""Pixels that a slot's triangles may cover in all / pixels of the frame."""
ROW_PLACES: Final = (3, 200)
"""Pixel rows that they may cover: so many per triangle, and so many per row of the frame."""
ATTRIBUTES: Final = 5
"""Numbers per vertex that are interpolated: texture coordinates, or those of `mouth.vertex_values`."""
LIPS, EYES, OPENING = 1, 2, 4
"""The rasteriser's targets after the frame itself; of EYES there are two."""
STAGES: Final = ("deform", "shade", "mesh", "raster", "warp", "edges", "eyes", "mouth", "output")


class Last(NamedTuple):
    """What the last frame drawn step by step asked for, for checks."""

    drawn: Drawn
    patches: tuple[Patch, Patch, Patch]


class Painter:
    """Draws deformed faces. `mark` is told each stage of STAGES as it ends, for whoever measures."""

    def __init__(self, layout: Layout, slots: Slots, rig: RigBatch) -> None:
        self.slots, self.rig, self.layout = slots, rig, layout
        self.mark: Callable[[str], None] = lambda stage: None
        self.batch: Final = rig.count
        self.size: Final = layout.format.size
        size, device, batch = self.size, rig.device, self.batch
        self._scale = layout.scale
        self._lips_room = Room(LIPS_SHARE, size, device)
        self._eye_room = Room(EYE_SHARE, size, device)
        self._opening_room = Room(OPENING_SHARE, size, device)
        self._frame_room = Room((1.0, 1.0), size, device)
        faces, inside = layout.face_triangles, layout.mouth_triangles
        rooms = (self._lips_room, self._eye_room, self._eye_room, self._opening_room)
        targets = [Target(size, size, layout.under_triangles + faces)]
        targets += [Target(2 * r.width, 2 * r.height, n) for r, n in zip(rooms, (faces,) * 3 + (inside,), strict=True)]
        triangles = sum(target.triangles for target in targets)
        self.raster: Final = Rasteriser(
            targets,
            slots=batch,
            rows=ROW_PLACES[0] * triangles + ROW_PLACES[1] * size,
            pixels=int(PIXEL_PLACES * size * size),
            attributes=ATTRIBUTES,
            device=device,
        )

        def index(rows: NDArray[np.int32]) -> Tensor:
            return torch.from_numpy(rows.ravel().astype(np.int64)).to(device)

        self._caps = index(layout.cap_rows)
        self._mouth_ring, self._lip_outer = index(layout.mouth_ring_M), index(layout.lip_outer_M)
        self._eye_rings, self._lids = index(layout.eye_ring_2E), index(layout.lids_22L)
        self.shading: Final = ShadingBatch(layout.shading, batch, size, device)
        self._frame_BCX = torch.zeros(batch, 3, size * size + 1, device=device)
        self._clip_G2 = torch.tensor([[t.width, t.height] for t in targets], device=device, dtype=torch.float32)
        self.watched = False
        """Keep `last`: for checks only, its memory cannot be used again within the frame."""
        self.last: Last | None = None
        self._column_W = torch.arange(layout.format.width, device=device)

    def draw(self, face: DeformedBatch) -> Tensor:
        """Pictures uint8 [B, *format.shape]. face: of the rigs in the slots."""
        slots, size, scale = self.slots, self.size, self._scale
        texture = self.shading.paint(slots, face)
        self.mark("shade")
        skin = warp.to_frame(face.skin_BV3, scale)
        flat = skin[..., :2]
        outer = flat.index_select(1, self._lip_outer)
        eye_rings = torch.unflatten(flat.index_select(1, self._eye_rings), 1, (2, -1)).flatten(0, 1)
        ring = skin.index_select(1, self._mouth_ring)
        width_B = slots.face_width_1[:, 0] * face.pose.scale_B * scale
        lips = Patch(pixel_box(outer, extent(outer) * EDGE_REACH, size), self._lips_room, size)
        eye_edges = pixel_box(eye_rings, extent(eye_rings) * EDGE_REACH, size)
        open_lids = warp.to_frame(self.rig.move(slots.eye_open_lid_2L3.flatten(1, 2), face.pose), scale)[..., :2]
        open_lids = torch.unflatten(open_lids, 1, (2, -1))
        around = torch.cat([eye_rings, open_lids.flatten(0, 1)], 1)
        eyes = Patch(pixel_box(around, extent(eye_rings) * EDGE_REACH, size), self._eye_room, size)
        opening = Patch(pixel_box(ring[..., :2], 3.0 * CONTACT_WIDTH * width_B, size), self._opening_room, size)
        drawn = self._raster(face, skin, lips.box, eyes.box, opening.box)
        if self.watched:
            self.last = Last(drawn, (lips, eyes, opening))

        map_2BD, there = self.raster.read(drawn, 0, EYES + 1, slice(1, 3))
        self.mark("raster")
        area = size * size
        map_2BX, there_BX = map_2BD[..., :area], there[:, :area]
        colours = warp.sample(texture, torch.cat([warp.stepped(map_2BX), map_2BD[..., area:]], -1))
        warped = colours[..., :area].round()
        lay = warp.opacity if self.layout.format.transparent else warp.over
        picture, opacity_BX = lay(warped, there_BX, slots.plate_3X)
        face_box = pixel_box(flat, FOLD_REACH * scale * slots.face_width_1[:, 0], size)
        inside = face_box.holds(self._frame_room.x_K, self._frame_room.y_K)
        frame = self._frame_BCX
        frame[..., :area] = warp.soften_folds(map_2BX, there_BX, warped, inside, picture)
        self.mark("warp")

        def edges(target: int, patch: Patch, within_BK: Tensor, number: int = 0) -> Tensor:
            part = self.raster.part(target)
            shape = (patch.room.height, patch.room.width)
            before = patch.read(frame, number)
            return warp.smooth_edges(map_2BD[..., part], there[:, part], colours[:, :3, part], within_BK, before, shape)

        lips.write(frame, edges(LIPS, lips, lips.used_BK))
        # the patches of the eyes reach up to where the lid is when open; edges are smoothed around the lids alone
        x_BK, y_BK = eyes.room.x_K + eyes.box.left_B[:, None], eyes.room.y_K + eyes.box.top_B[:, None]
        within = torch.unflatten(eye_edges.holds(x_BK, y_BK), 0, (-1, 2))
        both = torch.stack([edges(EYES + e, eyes, within[:, e], e) for e in range(2)], 1)
        self.mark("edges")
        self._eyes(face, flat, eye_rings, open_lids, eyes, frame, both)
        self.mark("eyes")
        self._mouth(face, ring, width_B, drawn, opening, frame)
        self.mark("mouth")
        out = self._output(frame[..., :area], opacity_BX)
        self.mark("output")
        return out

    def _output(self, frame_B3X: Tensor, opacity_BX: Tensor) -> Tensor:
        """Whole numbers, channels last, only what the format shows."""
        out = (frame_B3X + 0.5).clamp(0.0, 255.0)
        if self.layout.format.transparent:
            out = torch.cat([out, opacity_BX[:, None]], 1)
        square = torch.unflatten(out.to(torch.uint8), -1, (self.size, self.size)).permute(0, 2, 3, 1)
        if self.layout.format.width == self.size:
            return square.contiguous()
        column = (self.slots.left_1 + self._column_W)[:, None, :, None]
        return square.gather(2, column.expand(-1, self.size, -1, square.shape[-1]))

    def _raster(self, face: DeformedBatch, skin_BV3: Tensor, lips: Box, eyes: Box, opening: Box) -> Drawn:
        """The warp's map of the frame and, twice as fine, of lips and eyes; and what is seen through the opening."""
        slots, scale, start = self.slots, self._scale, self.layout.skin_start
        under = warp.to_frame(warp.underlay_points(slots, self.rig, face), scale)
        points, source = warp.place(slots, under, skin_BV3, self._caps, face.mouth_gap_B, scale)
        boxes = torch.cat(
            [
                lips.corners_B4[:, None],
                torch.unflatten(eyes.corners_B4, 0, (-1, 2)),
                opening.corners_B4[:, None],
            ],
            1,
        )
        origin, size = boxes[..., :2], boxes[..., 2:]

        fine = warp.doubled(points[:, None, start:], origin[:, :PATCHES]).flatten(1, 2)
        edge = face.skin_BV3.index_select(1, self._mouth_ring)
        inside = warp.doubled(warp.to_frame(inside_points(face, edge), scale)[:, None], origin[:, PATCHES:])[:, 0]
        pad = torch.zeros(self.batch, points.shape[1] + fine.shape[1], ATTRIBUTES - 2, device=points.device)
        skin_source = source[:, start:]
        source = torch.cat([torch.cat([source, *[skin_source] * PATCHES], 1), pad], -1)
        values = torch.cat([source, vertex_values(slots, face.mouth_normals_BP3)], 1)
        table = torch.cat([torch.cat([points, fine, inside], 1), values], -1)
        clip = torch.minimum(torch.cat([self._clip_G2[:1].expand(self.batch, 1, 2), 2.0 * size], 1), self._clip_G2)
        self.mark("mesh")
        return self.raster.draw(table.permute(2, 0, 1).flatten(1), slots.corners_3T, clip)

    def _eyes(
        self,
        face: DeformedBatch,
        flat_BV2: Tensor,
        rings: Tensor,
        open_lids: Tensor,
        eyes: Patch,
        frame: Tensor,
        both: Tensor,
    ) -> None:
        """Both eyes into the frame.

        rings: [2B, E, 2]; open_lids: [B, 2, L, 2]; both: the eyes' patches, edges smoothed, [B, 2, 3, K].
        """
        shape, origin = (eyes.room.height, eyes.room.width), eyes.box.corners_B4[:, :2]
        cover = torch.unflatten(coverage(rings - origin[:, None], eyes.room), 0, (-1, 2))
        at = (
            torch.stack([eyes.room.x_K, eyes.room.y_K])[:, None, None]
            + torch.unflatten(origin.T, 1, (-1, 2))[..., None]
        )
        at = torch.unflatten(at, -1, shape)
        upper, lower = torch.unflatten(flat_BV2.index_select(1, self._lids), 1, (2, 2, -1)).unbind(1)
        lids = Lids(self.slots, upper, lower, open_lids, at, face.pose.scale_B, self._scale)
        colour = eye_colours(self.slots, self.rig, face, lids.light(), at, self._scale)
        picture = torch.lerp(torch.unflatten(both, -1, shape), colour, (cover * lids.clear())[:, :, None])
        picture = lids.draw_lashes(lids.draw_skin(picture)).flatten(3)
        for eye in range(2):
            eyes.write(frame, picture[:, eye], eye)

    def _mouth(
        self, face: DeformedBatch, ring_BM3: Tensor, width_B: Tensor, drawn: Drawn, patch: Patch, frame: Tensor
    ) -> None:
        """The mouth's inside and the line of contact into the frame."""
        room = patch.room
        origin = F.pad(patch.box.corners_B4[:, None, :2], (0, 1))
        opening = Opening(room, ring_BM3 - origin, face.mouth_gap_B * self._scale, width_B)
        values, there = self.raster.read(drawn, OPENING, OPENING, slice(0, 1 + ATTRIBUTES))
        picture = torch.unflatten(patch.read(frame), -1, (room.height, room.width))
        picture = opening.compose(self.slots, values, there, picture)
        patch.write(frame, opening.darken(self.slots, picture).flatten(2))
