"""The batched decoder draws the CPU decoder's picture, slot by slot, and could do so inside a CUDA graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch._subclasses.fake_tensor import FakeTensorMode

from avatar.motion import space
from avatar.motion.limits import limit_head
from avatar.render.batch import decoder as batch_decoder
from avatar.render.batch.bench import measure, table
from avatar.render.batch.count import HOST_READS, count_frame
from avatar.render.batch.decoder import BatchDecoder, TorchDecoder
from avatar.render.batch.frame import STAGES
from avatar.render.decoder import Decoder
from avatar.render.output import Background, FrameFormat, Framing
from tests.batch_samples import SIZE, alone, batch, decibel, identities, named_motions, prepared, wild
from tests.render_samples import motions

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
LEAST_DB = 40.0


def boxes(draw: Decoder, motion_D: F32) -> dict[str, tuple[slice, slice]]:
    """Around mouth and eyes, where most stages meet: a whole-frame figure would hide an error there."""
    motion_D = limit_head(space.clamp(motion_D)[0], draw.safe_range_23)
    skin = draw.rig.deform(motion_D).skin_V3[:, :2] * (draw.size / draw.rig.size)
    out = {}
    for name, ring in (("mouth", draw.rig.lip_outer_M), ("eyes", draw.rig.eye_ring_2E.ravel())):
        low, high = np.floor(skin[ring].min(0) - 6).astype(int), np.ceil(skin[ring].max(0) + 7).astype(int)
        (x0, y0), (x1, y1) = np.clip(low, 0, draw.size), np.clip(high, 0, draw.size)
        out[name] = (slice(y0, y1), slice(x0, x1))
    return out


def check_same(picture: U8, draw: Decoder, motion_D: F32, name: str) -> None:
    expected = draw.render(motion_D)
    assert picture.shape == expected.shape and picture.dtype == expected.dtype
    found = {"frame": decibel(picture, expected)}
    for place, box in boxes(draw, motion_D).items():
        found[place] = decibel(picture[box], expected[box]) if expected[box].size else 99.0
    assert min(found.values()) >= LEAST_DB, f"{name}: {found}"


@pytest.mark.parametrize("name", named_motions())
def test_every_slot_shows_what_the_cpu_draws(name: str) -> None:
    motion_D = named_motions()[name]
    pictures = batch().render(np.stack([motion_D] * 3)).numpy()
    for which in range(3):
        check_same(pictures[which], alone(which), motion_D, f"{name}, identity {which}")


# a failing case here is already told apart by its motion: shrinking it would take minutes
@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(motions(), motions(), motions())
def test_any_motion_in_range(a_D: F32, b_D: F32, c_D: F32) -> None:
    pictures = batch().render(np.stack([a_D, b_D, c_D])).numpy()
    for which, motion_D in enumerate((a_D, b_D, c_D)):
        check_same(pictures[which], alone(which), motion_D, f"identity {which}")


def test_extremes_and_full_size() -> None:
    format = FrameFormat(512)
    draw = batch(1, format)
    for seed in range(2):
        check_same(draw.render(wild(seed)[None])[0].numpy(), alone(0, format), wild(seed), f"seed {seed}")


@pytest.mark.parametrize(
    "format",
    [
        FrameFormat(256, background=Background("transparent")),
        FrameFormat(256, Framing.PORTRAIT),
        FrameFormat(256, Framing.PORTRAIT, Background("colour", np.array([[[20, 90, 200]]], np.uint8))),
    ],
    ids=["transparent", "upright", "upright on blue"],
)
def test_formats(format: FrameFormat) -> None:
    draw = BatchDecoder([identities()[0]], format=format, device="cpu")
    expect = Decoder(identities()[0], format=format)
    for motion_D in (named_motions()["speaks"], named_motions()["near"]):
        picture = draw.render(motion_D[None])[0].numpy()
        expected = expect.render(motion_D)
        assert picture.shape == expected.shape == format.shape
        assert decibel(picture, expected) >= LEAST_DB


def test_slots_do_not_see_each_other() -> None:
    draw = batch()
    own = [named_motions()["speaks"], wild(5), named_motions()["blinks"]]
    pictures = draw.render(np.stack(own)).clone()
    others = draw.render(np.stack([own[0], wild(6), wild(7)]))
    assert torch.equal(pictures[0], others[0])
    assert torch.equal(pictures, draw.render(np.stack(own))), "a picture depends on its motion alone"


def test_an_identity_is_put_into_a_running_batch() -> None:
    draw = BatchDecoder([prepared(0)], format=FrameFormat(SIZE), device="cpu", batch=2)
    motion_D = named_motions()["smiles"]
    pair = np.stack([motion_D, motion_D])
    before = draw.render(pair).clone()
    assert torch.equal(before[0], before[1])
    draw.set_slot(1, prepared(1))
    after = draw.render(pair)
    assert torch.equal(before[0], after[0])
    check_same(after[1].numpy(), alone(1), motion_D, "new identity")
    draw.set_slot(1, prepared(0))
    assert torch.equal(before, draw.render(pair)), "something of the identity before remains"


def test_one_session_uses_it_like_a_decoder() -> None:
    draw = TorchDecoder(identities()[0], size=SIZE, device="cpu")
    draw.warm_up()
    motion_D = named_motions()["turned"]
    out = np.zeros((SIZE, SIZE, 3), np.uint8)
    assert draw.render(motion_D, out) is out
    check_same(out, alone(0), motion_D, "one session")
    assert draw.clamped == 0
    motion_D[space.INDEX["jawOpen"]] = 2.0
    motion_D[space.INDEX["headYaw"]] = np.nan
    check_same(draw.render(motion_D), alone(0), motion_D, "out of range")
    assert draw.clamped == 2
    with pytest.raises(ValueError, match="52 numbers"):
        draw.render(motion_D[:-1])
    with pytest.raises(ValueError, match="contiguous uint8"):
        draw.render(motion_D, out.astype(np.float32))


def test_what_a_user_does_wrong_is_told() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            TorchDecoder(prepared(0), size=SIZE)
    with pytest.raises(ValueError, match="2 slots cannot take 3"):
        BatchDecoder([prepared(0)] * 3, format=FrameFormat(SIZE), device="cpu", batch=2)
    with pytest.raises(ValueError, match="cannot take 0"):
        BatchDecoder([], device="cpu")
    with pytest.raises(ValueError, match="prepared for frames"):
        BatchDecoder([prepared(0)], size=512, device="cpu")
    with pytest.raises(ValueError, match="Motions are"):
        batch().render(np.zeros((2, space.DIM), np.float32))


def test_a_frame_asks_nothing_of_the_host() -> None:
    draw = batch()
    counters = []
    for motion_D in (named_motions()["rest"], wild(3)):
        draw.render(np.stack([motion_D] * 3))
        counters.append(count_frame(draw))
    first = counters[0]
    assert not first.operators & HOST_READS
    assert tuple(first.stages) == STAGES
    costs = [{name: (c.kernels, c.bytes) for name, c in counter.stages.items()} for counter in counters]
    assert costs[0] == costs[1], "the work depends on the motion: a captured graph would be wrong"
    assert all(kernels > 0 and moved > 0 for kernels, moved in costs[0].values())


def test_every_tensor_of_a_frame_is_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretended CUDA tensors go through the whole frame; any that meets one of the host raises."""
    monkeypatch.setattr(batch_decoder, "find_device", lambda name: torch.device("cuda:0"))
    ready = prepared(0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        draw = BatchDecoder([ready], format=FrameFormat(SIZE), device="cuda", batch=2)
        picture = draw.step()
    assert picture.device.type == "cuda"
    assert picture.shape == (2, SIZE, SIZE, 3) and picture.dtype == torch.uint8


@settings(max_examples=5, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.integers(0, 10_000))
def test_queues_and_patches_are_large_enough(seed: int) -> None:
    draw = batch()
    motions_BD = np.stack([wild(seed + which) for which in range(3)])
    motions_BD[:, space.INDEX["headLogScale"]] = space.HIGH_D[space.INDEX["headLogScale"]]
    draw.painter.watched = True
    draw.render(motions_BD)
    draw.painter.watched = False
    last = draw.painter.last
    assert last is not None
    rows, pixels = (int(asked.sum(1).max()) for asked in last.drawn.asked_2)
    assert rows <= 0.9 * draw.painter.raster.rows
    assert pixels <= 0.9 * draw.painter.raster.pixels
    for patch in last.patches:
        assert float(patch.box.width_B.max()) <= patch.room.width
        assert float(patch.box.height_B.max()) <= patch.room.height


def test_bench_on_the_cpu() -> None:
    found = measure("cpu", (1, 2), SIZE, 0.01, identities=[prepared(0)])
    assert [row["batch"] for row in found["rows"]] == [1, 2]
    for row in found["rows"]:
        assert row["frames_per_s"] == pytest.approx(row["batch"] * 1e3 / row["ms_per_batch"])
        assert row["bytes_per_s"] > 0 and row["of_peak"] is None
    assert set(found["counted"]) == set(found["stages_ms"]) == set(STAGES)
    assert "raster" in table(found)
