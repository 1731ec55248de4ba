"""faster-whisper with a real, random-weight Whisper of our own making: loads, runs off the event loop, refuses clearly.

Random weights say nonsense; what is tested is the path from sound to an event, not the words.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctranslate2.specs import whisper_spec  # type: ignore[import-untyped]
from livekit import rtc
from tokenizers import Tokenizer, models

from agent.speech import stt_whisper
from agent.speech.errors import SpeechError
from agent.speech.select import choose_stt, report
from agent.speech.stt_whisper import FasterWhisperSTT, find_model
from config.settings import SpeechSettings

WIDTH, LAYERS, HEADS, MELS = 32, 2, 2, 80
SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    words = [" hello", " there", " what", " is", " this", "?"]
    vocabulary = [*words, *SPECIAL, *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=" hello"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    spec = whisper_spec.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    fill(spec, len(vocabulary))
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [vocabulary.index("<|en|>"), vocabulary.index("<|de|>")]
    spec.config.alignment_heads = [[1, 0]]
    spec.register_vocabulary(vocabulary)
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS}))
    return folder


def fill(spec: Any, words: int) -> None:
    """Random weights in the shapes of a very small Whisper."""
    random = np.random.default_rng(5)

    def weight(*shape: int) -> Any:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def linear(layer: Any, out: int, into: int) -> None:
        layer.weight, layer.bias = weight(out, into), weight(out)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(layer: Any, own: bool) -> None:
        norm(layer.layer_norm)
        sizes = [3 * WIDTH, WIDTH] if own else [WIDTH, 2 * WIDTH, WIDTH]
        for part, size in zip(layer.linear, sizes, strict=True):
            linear(part, size, WIDTH)

    for side, length in ((spec.encoder, 1500), (spec.decoder, 448)):
        side.position_encodings.encodings = weight(length, WIDTH)
        norm(side.layer_norm)
        for layer in side.layer:
            attention(layer.self_attention, own=True)
            if side is spec.decoder:
                attention(layer.attention, own=False)
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
            linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
    spec.encoder.conv1.weight, spec.encoder.conv1.bias = weight(WIDTH, MELS, 3), weight(WIDTH)
    spec.encoder.conv2.weight, spec.encoder.conv2.bias = weight(WIDTH, WIDTH, 3), weight(WIDTH)
    spec.decoder.embeddings.weight = weight(words, WIDTH)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight


def tone(seconds: float, rate: int = 24_000) -> list[rtc.AudioFrame]:
    wave_S = (8000 * np.sin(np.arange(int(seconds * rate)) / 20)).astype(np.int16)
    return [rtc.AudioFrame(wave_S.tobytes(), rate, 1, len(wave_S))]


async def test_hears_off_the_event_loop(model_folder: Path) -> None:
    recogniser = FasterWhisperSTT(str(model_folder), device="cpu")
    await recogniser.warm()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    counting = asyncio.create_task(count())
    event = await recogniser.recognize(tone(2.0))
    counting.cancel()
    assert turns > 5
    data = event.alternatives[0]
    assert data.language == "en"
    assert 0 <= data.confidence <= 1
    assert (await recogniser.recognize(tone(0.02))).alternatives[0].text == "", "too short for a word"
    await recogniser.aclose()


async def test_is_the_default_when_its_model_is_there(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SpeechSettings(stt_model=str(model_folder))
    assert report(settings)[0].choice == f"faster-whisper/{model_folder}"
    recogniser = choose_stt(settings, [])
    assert isinstance(recogniser, FasterWhisperSTT)
    assert recogniser.provider == "faster-whisper"
    await recogniser.aclose()
    monkeypatch.setattr(stt_whisper, "usual_model", lambda: str(model_folder))
    recogniser = choose_stt(SpeechSettings(), [])
    assert recogniser.provider == "faster-whisper"
    await recogniser.aclose()


async def test_a_broken_model_says_so(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    recogniser = FasterWhisperSTT(str(tmp_path), device="cpu")
    with pytest.raises(SpeechError) as caught:
        await recogniser.warm()
    assert caught.value.code == "model_broken"
    await recogniser.aclose()


def test_a_model_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="not on this machine") as caught:
        find_model("large-v1")
    assert "download_model('large-v1')" in caught.value.hint
    with pytest.raises(SpeechError, match="no name of a Whisper model"):
        find_model("no such name!")
    (tmp_path / "model.bin").touch()
    (tmp_path / "config.json").touch()
    with pytest.raises(SpeechError, match=r"tokenizer\.json is missing"):
        find_model(str(tmp_path))
