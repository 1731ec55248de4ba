"""Coqui voices: a random-weight VITS of the real package speaks, tells its phone times and stops when told to.

Without the optional extra only the refusals and the phone arithmetic are tested.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from agent.speech import coqui
from agent.speech.errors import SpeechError
from agent.speech.voice import synthesize_all
from avatar.clock import STREAM_RATE

needs_coqui = pytest.mark.skipif(not coqui.installed(), reason="the optional extra coqui is not installed")


@pytest.fixture(scope="module")
def vits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    coqui.import_coqui()
    import torch
    from TTS.tts.configs.shared_configs import CharactersConfig
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits, VitsArgs

    torch.manual_seed(1)
    args = VitsArgs(
        init_discriminator=False, hidden_channels=32, hidden_channels_ffn_text_encoder=64, num_layers_text_encoder=2,
        num_layers_flow=1, num_layers_posterior_encoder=1, upsample_initial_channel_decoder=32, num_chars=150,
    )  # fmt: skip
    letters = CharactersConfig(
        characters_class="TTS.tts.models.vits.VitsCharacters", pad="_", eos="", bos="", blank="<BLNK>", phonemes=None,
        characters="ˈˌːabdefhijklmnoprstuvwzæðŋɑɔəɚɛɪɹʃʊʌʒθ", punctuations="!?,. ",
    )  # fmt: skip
    config = VitsConfig(
        model_args=args, use_phonemes=False, characters=letters, add_blank=True, text_cleaner="no_cleaners",
        run_eval=False,
    )  # fmt: skip
    model = Vits(config)
    folder = tmp_path_factory.mktemp("vits")
    config.save_json(str(folder / "config.json"))
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    return folder


@needs_coqui
async def test_speaks_and_tells_when(vits_folder: Path) -> None:
    voice = coqui.CoquiVoice(str(vits_folder))
    await voice.warm()
    # This model's letters are IPA already, so that no phonemiser program is needed.
    voice._synthesizer.tts_model.config.use_phonemes = True
    chunk = await synthesize_all(voice, "hɛloʊ ðɪs ɪz maɪ mæp.")
    assert chunk.duration_s > 0.1
    assert chunk.pcm_S.dtype == np.int16
    assert chunk.phones is not None
    names = [phone.phone for phone in chunk.phones]
    assert " ".join(n for n in names if n != "sil") == "HH EH L OW DH IH S IH Z M AY M AE P"
    assert chunk.phones[0].start_s == 0
    assert abs(chunk.phones[-1].end_s - chunk.duration_s) < 2 / STREAM_RATE
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(chunk.phones))
    await voice.aclose()


@needs_coqui
async def test_cancelled_synthesis_stops_in_the_model(vits_folder: Path) -> None:
    voice = coqui.CoquiVoice(str(vits_folder))
    await voice.warm()
    long = "hɛloʊ ðɪs ɪz maɪ mæp " * 11
    started = time.perf_counter()
    await synthesize_all(voice, long)
    whole_s = time.perf_counter() - started

    async def first() -> None:
        async with aclosing(voice.synthesize(long)) as chunks:
            async for _ in chunks:
                pass

    task = asyncio.create_task(first())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    started = time.perf_counter()
    assert (await synthesize_all(voice, "maɪ mæp.")).duration_s > 0
    assert time.perf_counter() - started < max(0.3, 0.7 * whole_s)
    await voice.aclose()


@needs_coqui
def test_a_broken_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"no model")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SpeechError) as caught:
        asyncio.run(coqui.CoquiVoice(str(tmp_path)).warm())
    assert caught.value.code == "model_broken"


def test_a_model_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_HOME", str(tmp_path))
    with pytest.raises(SpeechError) as caught:
        coqui.find_model("tts_models/en/ljspeech/vits")
    assert caught.value.code == "model_missing"
    assert "tts_models/en/ljspeech/vits" in caught.value.hint
    cached = tmp_path / "tts" / "tts_models--en--ljspeech--vits"
    cached.mkdir(parents=True)
    with pytest.raises(SpeechError, match="holds no Coqui model"):
        coqui.find_model("tts_models/en/ljspeech/vits")
    (cached / "speakers.pth").touch()
    (cached / "model_file.pth").touch()
    (cached / "config.json").touch()
    assert coqui.find_model("tts_models/en/ljspeech/vits") == (cached / "model_file.pth", cached / "config.json")


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coqui, "installed", lambda: False)
    with pytest.raises(SpeechError) as caught:
        coqui.CoquiVoice(str(tmp_path))
    assert caught.value.code == "engine_missing"
    assert "pip install" in caught.value.hint


def test_phones_from_symbols_and_durations() -> None:
    symbols = ["", "ˈ", "a", "", "ɪ", " ", "", "t", "ʃ", "ː", ".", ""]
    phones = coqui.to_phones(symbols, [2, 1, 3, 1, 2, 1, 1, 2, 3, 1, 10, 2], 0.01)
    assert [(p.phone, round(p.start_s, 3), round(p.end_s, 3)) for p in phones] == [
        ("sil", 0.0, 0.03),
        ("AY", 0.03, 0.11),
        ("CH", 0.11, 0.17),
        ("sil", 0.17, 0.29),
    ]


def test_a_stand_in_is_found_like_a_package() -> None:
    finder = coqui._StandInFinder("no_such_audio_package")
    sys.meta_path.append(finder)
    try:
        from no_such_audio_package.functional import resample  # type: ignore[import-not-found]

        with pytest.raises(RuntimeError, match="not available"):
            resample()
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.startswith("no_such_audio_package")]:
            del sys.modules[name]
