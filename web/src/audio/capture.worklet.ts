/** Audio thread: the microphone at any rate in, 40 ms packets of 16 kHz PCM16 out. */
import { MICROPHONE_RATE } from "../clock";
import { CAPTURE_NAME } from "./messages";
import { Packetiser } from "./packets";
import { StreamingResampler } from "./resample";

class Capture extends AudioWorkletProcessor {
  readonly #resampler = new StreamingResampler(sampleRate, MICROPHONE_RATE);
  readonly #packets = new Packetiser((MICROPHONE_RATE * 40) / 1000);

  process(inputs: Float32Array[][]): boolean {
    const channel = inputs[0]?.[0];
    if (channel) {
      for (const packet of this.#packets.push(this.#resampler.process(channel))) {
        this.port.postMessage(packet, [packet.buffer]);
      }
    }
    return true;
  }
}

registerProcessor(CAPTURE_NAME, Capture);
