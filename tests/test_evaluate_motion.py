"""The evaluation of motion: playing clips as a live session does, tables, goals, probes, strips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avatar.audio.phones import PHONE_TO_VISEME
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.controls import CONTROL_INDEX, EMOTIONS, Asked
from avatar.motion.diffusion.layout import AHEAD, AUDIO
from avatar.motion.diffusion.net import SIZES, MotionNet
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.weights import load_weights, save_weights
from scripts import motion_strip
from scripts.evaluate import __main__ as evaluate
from scripts.evaluate import conduct, goals, probes, responses, score
from scripts.evaluate.clips import held_out, made_clips, spread
from scripts.evaluate.guided import GuidedNet
from scripts.evaluate.play import Player, asked_of, mismatched, perform, sessions
from scripts.evaluate.report import Goal, Report, Table
from scripts.evaluate.systems import MISMATCHED, REAL, articulation, diffusion, named, recorded
from scripts.motion_clips import MotionClip

I = space.INDEX  # noqa: E741


@pytest.fixture(scope="module")
def clips() -> list[MotionClip]:
    return made_clips(3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learned nothing."""
    import torch

    torch.manual_seed(0)
    net = MotionNet(SIZES["tiny"])
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.02)
    tensors = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    tensors |= {"norm.mean": np.zeros(space.DIM), "norm.scale": np.full(space.DIM, 0.1)}
    tensors |= {"norm.reach": np.ones((AHEAD, space.DIM))}
    tensors |= {"norm.audio_mean": np.zeros(AUDIO), "norm.audio_scale": np.ones(AUDIO)}
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    size = SIZES["tiny"]
    save_weights(path, tensors, width=size.width, layers=size.layers, heads=size.heads, steps=1, meta={})
    return path


# ---------------------------------------------------------------- playing


def test_a_segment_that_was_cut_off_is_cut_off(clips: list[MotionClip]) -> None:
    whole = clips[0]
    cut = replace(whole, segments=[replace(whole.segments[0], frames=30)])
    system = articulation(phones=True)
    whole_TD, cut_TD = (perform(system.open(1), clip, phones=True) for clip in (whole, cut))
    np.testing.assert_array_equal(whole_TD[:30], cut_TD[:30])
    gap_T = cut_TD[:, I["jawOpen"]] - cut_TD[:, I["mouthClose"]]
    assert whole_TD[30:50, I["jawOpen"]].max() > 0.1 and gap_T[33:].max() < 1e-6


def test_states_are_those_of_the_clip(clips: list[MotionClip]) -> None:
    listening = replace(clips[0], controls_TC=clips[0].controls_TC.copy(), segments=[])
    listening.controls_TC[:, [CONTROL_INDEX["speaking"], CONTROL_INDEX["listening"]]] = [0.0, 1.0]
    near_T = perform(articulation(phones=True).open(1), listening, phones=True)[:, I["headLogScale"]]
    speaking = replace(clips[0], segments=[])
    assert (
        near_T[-20:].mean()
        > perform(articulation(phones=True).open(1), speaking, phones=True)[-20:, I["headLogScale"]].mean()
    )


def test_what_was_asked_is_read_from_the_controls(clips: list[MotionClip]) -> None:
    asked = Asked(gaze_azimuth_deg=7.0, distance=0.9, happy=0.5, liveliness=0.8, rest_roll_deg=2.0)
    clip = replace(clips[0], controls_TC=clips[0].controls_TC.copy())
    asked.fill(clip.controls_TC)
    found = asked_of(clip)
    for name in ("gaze_azimuth_deg", "distance", "happy", "liveliness", "rest_roll_deg"):
        assert getattr(found, name) == pytest.approx(getattr(asked, name), abs=1e-5)


def test_short_clips_share_a_session(clips: list[MotionClip]) -> None:
    assert [len(s) for s in sessions(clips, 2)] == [2, 1]
    other = replace(clips[1], source="elsewhere")
    assert [len(s) for s in sessions([clips[0], other, clips[2]])] == [1, 1, 1]
    long = replace(
        clips[0],
        motion_TD=np.zeros((400, 52), np.float32),
        controls_TC=np.zeros((400, 24), np.float32)[:, : clips[0].controls_TC.shape[1]],
    )
    assert [len(s) for s in sessions([long, long])] == [1, 1]


def test_what_was_shown_is_remembered_until_something_changes(clips: list[MotionClip], tmp_path: Path) -> None:
    opened: list[int] = []
    system = articulation(phones=True)
    counting = replace(system, open=lambda seed: opened.append(seed) or system.open(seed))
    first = Player(tmp_path).show(counting, clips)
    again = Player(tmp_path).show(counting, clips)
    assert len(opened) == 1
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.motion_TD, b.motion_TD)
        np.testing.assert_array_equal(a.lips.points_TN3, b.lips.points_TN3)
    Player(tmp_path).show(replace(counting, key="other weights"), clips)
    louder = [replace(c, segments=[replace(c.segments[0], pcm_S=c.segments[0].pcm_S // 2)]) for c in clips]
    Player(tmp_path).show(counting, louder)
    assert len(opened) == 3


def test_held_out_clips_only(clips: list[MotionClip], tmp_path: Path) -> None:
    for number, clip in enumerate(clips):
        replace(clip, held_out=number == 1).save(tmp_path)
    assert [c.name for c in held_out(tmp_path, {}, 5)] == [clips[1].name]
    with pytest.raises(ValueError, match="no held-out clips"):
        held_out(tmp_path, {}, 5, ["grid"])
    paths = [Path(str(i)) for i in range(10)]
    assert spread(paths, 4) == [paths[i] for i in (0, 3, 6, 9)] and spread(paths, 0) == paths


# ---------------------------------------------------------------- figures


def test_figures_tell_good_motion_from_bad(clips: list[MotionClip]) -> None:
    player = Player()
    real, reference = player.show(recorded(REAL), clips), player.show(articulation(phones=True), clips)
    good = score.scores(reference, real, reference)
    assert good["opening_r"] > 0.98 and good["hit_pct"] == 100.0 and good["false_pct"] == 0.0
    assert abs(good["lag_real_frames"]) < 0.2 and good["lip_error_mm"] < 0.5
    assert min(good["opening_shift_drop"], good["phones_shift_drop"], good["hit_shift_drop_pct"]) > 0.1
    bad = score.scores(player.show(recorded(MISMATCHED), mismatched(clips)), real, reference)
    assert bad["opening_r"] < 0.6 and bad["hit_pct"] < 50.0 and bad["lip_error_mm"] > 2.0
    assert bad["head_std_deg"] == pytest.approx(score.scores(real, None, None)["head_std_deg"], rel=0.3)


def test_silence_is_where_nothing_sounds(clips: list[MotionClip]) -> None:
    by_phones = score.silence(clips[0])
    heard = replace(clips[0], segments=[replace(clips[0].segments[0], phones=None)])
    by_sound = score.silence(heard)
    for silent_T in (by_phones, by_sound):
        assert silent_T[:3].all() and not silent_T[10:60].any() and silent_T[-8:].all()


def test_a_network_takes_part(clips: list[MotionClip], weights: Path) -> None:
    system = diffusion("tiny", weights, 2, phones=False)
    assert system.name == "tiny-2-audio" and named("tiny-2-audio", [f"tiny={weights}"]).key == system.key
    shown = Player().show(system, clips[:1])[0]
    assert shown.motion_TD.shape == clips[0].motion_TD.shape and np.isfinite(shown.motion_TD).all()
    same = conduct.sameness(system, clips[0])
    assert max(v for k, v in same.items() if k != "another seed") < 1e-4 < same["another seed"]
    with pytest.raises(ValueError, match="no system"):
        named("nothing")


def test_guidance_exaggerates_what_is_heard(weights: Path) -> None:
    loaded = load_weights(weights)
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(shape).astype(np.float32) for shape in ((10, 52), (18, AUDIO))]
    given += [np.zeros((18, len(CONTROL_INDEX)), np.float32), np.zeros((18, 4), np.float32)]
    noise_ND = rng.standard_normal((8, 52)).astype(np.float32)
    plain_ND = NumpyNet(loaded, 1).sample(*given, noise_ND)
    deaf_ND = NumpyNet(loaded, 1).sample(given[0], np.zeros_like(given[1]), *given[2:], noise_ND)
    np.testing.assert_allclose(GuidedNet(loaded, 1, 0.0).sample(*given, noise_ND), plain_ND, atol=1e-6)
    guided_ND = GuidedNet(loaded, 1, 0.7).sample(*given, noise_ND)
    np.testing.assert_allclose(guided_ND, plain_ND + 0.7 * (plain_ND - deaf_ND), atol=1e-5)
    assert np.abs(plain_ND - deaf_ND).max() > 1e-4


def test_interruptions_and_ends(clips: list[MotionClip]) -> None:
    system = articulation(phones=True)
    found = conduct.interruptions(system, clips, tries=2) | conduct.ends(system, clips)
    assert found["frames_to_closed"] <= 3 and found["bend_ratio"] < 2.0 and found["opening_after_mm"] < 0.7


def test_asked_and_measured(clips: list[MotionClip]) -> None:
    system = articulation(phones=True)
    left = responses.hold(system, Asked(gaze_azimuth_deg=-10.0), clips[0], 2.0)
    assert np.degrees(np.median(left[:, I["gazeAzimuth"]])) == pytest.approx(-10.0, abs=1.5)
    assert responses.separability(system, clips[0], 2) > 0.8
    assert responses.worst([(-1.0, -1.5), (0.0, 0.2)]) == 0.5
    assert responses.linearity([(0.0, 0.0), (0.5, 1.0), (1.0, 2.0)]) == pytest.approx(1.0)
    assert responses.linearity([(0.0, 1.0), (1.0, 1.0)]) == 0.0


def test_nearest_centroid() -> None:
    rng = np.random.default_rng(0)
    names = [name for name in EMOTIONS for _ in range(20)]
    centre = {name: rng.normal(0, 1, 5) for name in EMOTIONS}
    rows_NF = np.stack([centre[name] + rng.normal(0, 0.1, 5) for name in names])
    rows_NF *= [1.0, 100.0, 1.0, 0.01, 1.0]  # units do not matter
    assert np.mean(np.array(responses.nearest_centroid(rows_NF, names, rows_NF)) == names) > 0.98
    shuffled = rng.permutation(names)
    assert np.mean(np.array(responses.nearest_centroid(rows_NF, list(shuffled), rows_NF)) == names) < 0.5


# ---------------------------------------------------------------- probes


@pytest.mark.parametrize("name", ["Mandarin, espeak", "German, espeak", "Spanish, espeak", "whispered"])
def test_every_language_has_phones_in_order(name: str) -> None:
    condition = next(c for c in probes.CONDITIONS if c.name == name)
    for clip in probes.probe(condition, 2):
        segment = clip.segments[0]
        assert segment.phones is not None and len(segment.phones) > 15
        assert {p.phone for p in segment.phones} <= set(PHONE_TO_VISEME)
        assert sum(p.phone in {"P", "B", "M"} for p in segment.phones) >= 3
        for a, b in zip(segment.phones, segment.phones[1:], strict=False):
            assert a.start_s < a.end_s <= b.start_s + 1e-9
        assert segment.phones[-1].end_s <= len(segment.pcm_S) / STREAM_RATE + 0.01
        assert segment.frames == -(-len(segment.pcm_S) // FRAME_SAMPLES)


def test_changes_of_the_sound() -> None:
    rng = np.random.default_rng(0)
    tone_S = (0.3 * np.sin(2 * np.pi * 440 * np.arange(STREAM_RATE) / STREAM_RATE)).astype(np.float32)
    noisy_S = probes.noise(10.0)(tone_S, rng)
    assert 20 * np.log10(tone_S.std() / (noisy_S - tone_S).std()) == pytest.approx(10.0, abs=0.5)
    low_S = (0.3 * np.sin(2 * np.pi * 100 * np.arange(STREAM_RATE) / STREAM_RATE)).astype(np.float32)
    assert probes.telephone(low_S, rng).std() < 0.01 < probes.telephone(tone_S, rng).std()
    assert probes.quiet(tone_S, rng).std() == pytest.approx(tone_S.std() / 31.6, rel=0.01)
    assert len(probes.vibrato(tone_S, rng)) == len(tone_S)


# ---------------------------------------------------------------- reports


def test_goals_and_steps() -> None:
    row = {"bilabials": 50.0, "hit_pct": 96.0, "false_pct": 6.0, "opening_r": 0.8, "lag_real_frames": -1.5}
    row |= {"opening_shift_drop": 0.1, "head_std_deg": 1.1, "blink_per_min": 30.0}
    real = {"head_std_deg": 1.0, "blink_per_min": 20.0}
    many = {**row, "opening_r": 0.79, "head_std_deg": 1.2}
    results = goals.Results(main={"grid": {REAL: real, "small-1": row, "small-10": many}})
    met = {g.name: g.met for g in goals.goals_of(results, "small-1")}
    assert met["bilabials closed, %, grid"] and met["mouth-opening r, grid"] and met["head std, % from real"]
    assert not met["false closures, %, grid"] and not met["lag to real motion, frames, grid"]
    assert not met["blink rate, % from real"]
    found, differences = goals.step_goals(results, "small-1", "small-10")
    assert differences["grid"]["opening_r"] == pytest.approx(100 * 0.01 / 0.79)
    assert found[0].value == pytest.approx(100 * 0.1 / 1.2) and not found[0].met


def test_reports_can_be_read_by_people_and_programs(tmp_path: Path) -> None:
    table = Table(
        "Against", {"a": {"opening_r": 0.12345, "blink_ms": float("nan")}, "b": {}}, ("opening_r", "blink_ms")
    )
    aims = [Goal("r", "a", 0.8, ">= 0.75", True), Goal("r", "b", 0.7, ">= 0.75", False)]
    Report({"clips": {"grid": 2}}, [table], aims).write(tmp_path)
    loaded = json.loads((tmp_path / "report.json").read_text())
    assert loaded["tables"]["Against"]["rows"]["a"] == {"opening_r": 0.12345, "blink_ms": None}
    text = (tmp_path / "report.md").read_text()
    assert "| a | 0.123 | - |" in text and "| r | >= 0.75 | 0.800 yes | **0.700 no** |" in text


def test_command_line(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, docs = tmp_path / "out", tmp_path / "docs"
    arguments = ["motion", "--quick", "--parts", "main,seams", "--weights", f"tiny={weights}", "--steps", "1,10"]
    assert evaluate.main([*arguments, "--out", str(out), "--docs", str(docs)]) == 0
    text = (docs / "evaluation.md").read_text()
    for row in ("| real |", "| articulation-phones |", "| tiny-1 |", "| tiny-10-audio |", "tiny-1 against tiny-10, %"):
        assert row in text
    for picture in ("opening_made.png", "lag_made.png"):
        assert (out / picture).stat().st_size > 5000 and (docs / "images" / picture).exists()
    assert evaluate.main(["nothing"]) == 2
    assert evaluate.main(["motion", "--clips", str(tmp_path), "--out", str(out)]) == 1
    assert "no held-out clips" in capsys.readouterr().err


def test_strip(clips: list[MotionClip], tmp_path: Path) -> None:
    path = clips[0].save(tmp_path)
    out = tmp_path / "strip.png"
    arguments = [str(path), "--systems", "real", "articulation-audio", "--seconds", "0.6", "--every", "5"]
    assert motion_strip.main([*arguments, "--out", str(out)]) == 0 and out.stat().st_size > 20_000
    assert motion_strip.main(["--out", str(out)]) == 1
