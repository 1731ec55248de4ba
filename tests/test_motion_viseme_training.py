"""What is trained is what is streamed; corpus labels and augmentation keep their promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from avatar.audio.features import MELS, RunningNorm, log_mel
from avatar.audio.phones import VISEMES, TimedPhone
from avatar.clock import STREAM_RATE
from avatar.motion.viseme_net import LOOKAHEAD, STACK, VisemeNet
from scripts.make_speech_corpus import labels, save
from scripts.speech_texts import Texts
from scripts.train_viseme import CROP, Corpus, TrainedNet, augment, batch, export, is_held_out


def test_the_exported_network_streams_what_was_trained() -> None:
    torch.manual_seed(0)
    net = TrainedNet()
    net.train()
    net(torch.randn(4, 200, MELS))  # moves the batch statistics off their defaults
    net.eval()
    rng = np.random.default_rng(0)
    pcm_S = rng.normal(0, 3000, 2 * STREAM_RATE).astype(np.int16)
    mel_TM = RunningNorm().apply(log_mel(pcm_S))
    mel_TM = mel_TM[: len(mel_TM) // STACK * STACK]
    with torch.inference_mode():
        trained_TV = torch.softmax(net(torch.from_numpy(mel_TM[None]))[0], dim=1).numpy()
    weights = {name: tensor.astype(np.float32) for name, tensor in export(net).items()}
    streamed_TV = VisemeNet(weights).push(pcm_S)
    inner = len(streamed_TV) - LOOKAHEAD
    np.testing.assert_allclose(streamed_TV[:inner], trained_TV[:inner], atol=5e-3)  # float16 weights


def test_labels_follow_the_phones() -> None:
    viseme_T = labels([TimedPhone("sil", 0.0, 0.1), TimedPhone("B", 0.1, 0.15), TimedPhone("IY", 0.15, 0.3)], 40)
    assert [VISEMES[v] for v in viseme_T[[0, 9, 10, 14, 15, 29, 30]]] == ["sil", "sil", "PP", "PP", "II", "II", "sil"]


def test_augmented_crops_are_usable_and_labels_stay_in_place(tmp_path: Path) -> None:
    """A loud stretch among silence keeps its label under every tempo, room, channel and noise."""
    rng = np.random.default_rng(1)
    length = 5 * CROP
    viseme_T = ((np.arange(length) // 80) % 2 * 9).astype(np.uint8)
    log_TM = np.where(viseme_T[:, None] > 0, -2.0, -14.0) + rng.normal(0, 0.3, (length, MELS))
    agree = []
    for _ in range(30):
        mel_TM, label_T = augment(log_TM[:CROP].astype(np.float32), viseme_T[:CROP], rng)
        assert mel_TM.shape == (CROP, MELS) and np.isfinite(mel_TM).all() and np.abs(mel_TM).max() < 12
        loud_T = mel_TM.mean(1)
        agree.append(loud_T[label_T == 9].mean() > loud_T[label_T == 0].mean() + 0.2)
    assert all(agree)
    save(tmp_path / "a.npz", [log_TM.astype(np.float16)], [viseme_T], ["flite-slt"])
    save(tmp_path / "real-lj.npz", [log_TM.astype(np.float16)], [viseme_T], ["lj:1"])
    corpus = Corpus(tmp_path, real_share=0.5)
    assert len(corpus.synthetic) == 1 and not corpus.real  # test recordings are never trained on
    mel_BTM, viseme_BT = batch(corpus, rng)
    assert mel_BTM.shape[1:] == (CROP, MELS) and set(viseme_BT.unique().tolist()) <= {0, 9}


def test_held_out_voices_stay_the_same() -> None:
    assert is_held_out("flite-kal16") and not is_held_out("flite-slt") and not is_held_out("libri:19-198")
    held = [v for v in (f"espeak-en-us+m{i}" for i in range(400)) if is_held_out(v)]
    assert 15 < len(held) < 60


def test_texts_are_varied_and_repeatable() -> None:
    words = ["alpha", "bravo", "thistle"]
    first, again = Texts(1, words), Texts(1, words)
    lines = [first.next() for _ in range(200)]
    assert lines == [again.next() for _ in range(200)] and len(set(lines)) > 150
