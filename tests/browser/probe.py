"""Watches a page from outside its own code: records what it plays and which picture is on its canvas.

`SCRIPT` runs in the page before anything else. It taps every connection to an audio destination with a recorder,
and after each screen refresh it reads the frame number off the canvas together with the context time that the
browser says is at the loudspeaker. The recorder is a blob, so the context must bypass the content security policy.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from playwright.async_api import Page

from tests.browser.stage import BITS, FRAME, RATE, SQUARE

SCRIPT = """
(() => {
  const recorder = `
    registerProcessor("probe-recorder", class extends AudioWorkletProcessor {
      process([input]) {
        const samples = input[0] ? Float32Array.from(input[0]) : new Float32Array(128);
        this.port.postMessage([currentFrame, samples], [samples.buffer]);
        return true;
      }
    });`;
  const probe = { blocks: [], sights: [], pictures: [], context: null };
  window.probe = probe;
  const heardNow = () => {
    const stamp = probe.context?.getOutputTimestamp();
    return stamp?.contextTime ? stamp.contextTime + (performance.now() - stamp.performanceTime) / 1000 : -1;
  };
  // Ten pictures a second as a visitor sees them, for a closer look afterwards.
  setInterval(() => {
    const canvas = document.getElementById("avatar");
    if (canvas && probe.keeping) {
      const heard = heardNow();
      probe.pictures.push([performance.now(), heard, canvas.toDataURL("image/jpeg", 0.9).split(",")[1]]);
    }
  }, 100);
  const addModule = AudioWorklet.prototype.addModule;
  AudioWorklet.prototype.addModule = async function (...all) {
    if (!this.probed) {
      this.probed = true;
      await addModule.call(this, URL.createObjectURL(new Blob([recorder], { type: "text/javascript" })));
    }
    return addModule.apply(this, all);
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    const speaks = target === this.context.destination && this.numberOfInputs === 0;
    if (speaks) {
      const node = new AudioWorkletNode(this.context, "probe-recorder", { numberOfOutputs: 0, channelCount: 1 });
      node.port.onmessage = ({ data }) => probe.blocks.push(data);
      connect.call(this, node);
      probe.context = this.context;
    }
    return connect.call(this, target, ...rest);
  };
  const strip = new OffscreenCanvas(512, 1).getContext("2d", { willReadFrequently: true });
  const look = () => {
    const canvas = document.getElementById("avatar");
    if (canvas && probe.watching) {
      strip.drawImage(canvas, 0, 496, 512, 1, 0, 0, 512, 1);
      const row = strip.getImageData(0, 0, 512, 1).data;
      let number = 0, ones = 0;
      for (let bit = 0; bit < BITS; bit++) {
        const on = row[4 * (bit * SQUARE + SQUARE / 2)] > 127;
        number += on ? 2 ** bit : 0;
        ones += on;
      }
      const parity = row[4 * (BITS * SQUARE + SQUARE / 2)] > 127;
      probe.sights.push([performance.now(), heardNow(), parity == ones % 2 ? number : -1]);
    }
    // After every animation callback of the page has run.
    requestAnimationFrame(() => setTimeout(look, 0));
  };
  requestAnimationFrame(() => setTimeout(look, 0));
})();
""".replace("BITS", str(BITS)).replace("SQUARE", str(SQUARE))


VOICE = """
(() => {
  // A microphone that speaks when the test says so: speakNow(base64 of PCM16 mono at 16 kHz).
  let context = null, line = null;
  navigator.mediaDevices.getUserMedia = async () => {
    context = new AudioContext({ sampleRate: 16000 });
    line = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    const hush = new ConstantSourceNode(context, { offset: 0 });
    hush.connect(line);
    hush.start();
    return line.stream;
  };
  window.speakNow = (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const pcm = Float32Array.from(new Int16Array(bytes.buffer), (x) => x / 32768);
    const buffer = new AudioBuffer({ length: pcm.length, sampleRate: 16000 });
    buffer.copyToChannel(pcm, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(line);
    source.start();
    return performance.now();
  };
})();
"""


async def speak_now(page: Page, pcm_S: np.ndarray) -> float:
    """Speak into the page's microphone (int16, 16 kHz; needs VOICE). Returns the page's time in ms at the beginning."""
    return float(await page.evaluate("speakNow", base64.b64encode(pcm_S.tobytes()).decode()))


@dataclass(frozen=True)
class Recording:
    """What a visitor heard and saw."""

    rate: int
    first_frame: int
    sound: np.ndarray
    """float32 [frames] at the context's rate, from context frame `first_frame` on."""
    sights: np.ndarray
    """float64 [n, 3]: page time in ms, context time at the loudspeaker in s, number of the picture shown."""

    def loudness(self, context_s: float, seconds: float = 0.1) -> float:
        """Root mean square of the sound heard just before that time."""
        snippet = self.at(context_s, int(seconds * self.rate))
        return float(np.sqrt(np.mean(snippet**2))) if len(snippet) else 0.0

    def at(self, context_time: float, length: int) -> np.ndarray:
        """The sound that ends at `context_time`."""
        end = int(context_time * self.rate) - self.first_frame
        return self.sound[max(0, end - length) : max(0, end)]


async def watch(page: Page) -> None:
    """Begin to look at the canvas."""
    await page.evaluate("probe.watching = true")


async def collect(page: Page) -> Recording:
    """Everything recorded so far."""
    raw = await page.evaluate(
        """() => {
          const { blocks, sights, context } = probe;
          const first = blocks[0][0];
          const [last, end] = blocks.at(-1);
          // An overloaded machine skips blocks: what was not played is silence.
          const sound = new Float32Array(last + end.length - first);
          for (const [frame, samples] of blocks) {
            sound.set(samples, frame - first);
          }
          const bytes = new Uint8Array(sound.buffer);
          let text = "";
          for (let i = 0; i < bytes.length; i += 32768) {
            text += String.fromCharCode(...bytes.subarray(i, i + 32768));
          }
          return { rate: context.sampleRate, first, sound: btoa(text), sights };
        }"""
    )
    sound = np.frombuffer(base64.b64decode(raw["sound"]), np.float32)
    return Recording(raw["rate"], raw["first"], sound, np.array(raw["sights"], np.float64).reshape(-1, 3))


@dataclass(frozen=True)
class Look:
    """One picture as it stood on the page."""

    page_ms: float
    context_s: float
    jpeg: bytes


async def keep_pictures(page: Page) -> None:
    """Begin to keep ten pictures a second."""
    await page.evaluate("probe.keeping = true")


async def pictures(page: Page) -> list[Look]:
    """The pictures kept so far."""
    raw = await page.evaluate("probe.pictures")
    return [Look(now, heard, base64.b64decode(jpeg)) for now, heard, jpeg in raw]


def place(snippet: np.ndarray, stream: np.ndarray, near: int) -> int | None:
    """Where in the stream (int16, 24 kHz) this snippet begins, within 2 s of `near`; None when it is not there."""
    first = max(0, near - 2 * RATE)
    stream = stream[first : near + 2 * RATE]
    if len(snippet) < 256 or np.sqrt(np.mean(snippet**2)) < 0.01:
        return None
    size = 1 << (len(stream) + len(snippet)).bit_length()
    spectrum = np.fft.rfft(stream / 32768.0, size) * np.conj(np.fft.rfft(snippet, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: len(stream) - len(snippet)]))
    piece = stream[at : at + len(snippet)] / 32768.0
    match = float(np.dot(piece, snippet) / (np.linalg.norm(piece) * np.linalg.norm(snippet)))
    return first + at if match > 0.95 else None


def offsets_ms(recording: Recording, stream: np.ndarray, *, every: int = 6) -> np.ndarray:
    """[m, 2]: page time in ms; picture against sound in ms (centre of the shown frame minus the sample heard)."""
    assert recording.rate == RATE
    found = []
    for now, heard, number in recording.sights[::every]:
        snippet = recording.at(heard, 1024)
        start = place(snippet, stream, int(number) * FRAME) if number >= 0 else None
        if start is not None:
            found.append((now, (number * FRAME + FRAME / 2 - (start + len(snippet))) * 1000 / RATE))
    return np.array(found)
