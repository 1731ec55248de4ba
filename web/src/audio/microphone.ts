/**
 * The microphone: echo-cancelled mono, cut into 40 ms packets of 16 kHz PCM16.
 *
 * Muting disables the track, so that the browser itself gives silence, and stops the packets. The track
 * stays open: speaking again is instant and asks for no new permission.
 */

import captureUrl from "./capture.worklet.ts?worker&url";
import { CAPTURE_NAME } from "./messages";

export type MicrophoneFailure = "refused" | "missing" | "failed";

/** The microphone cannot be had; `failure` says why. */
export class MicrophoneError extends Error {
  override readonly name = "MicrophoneError";

  constructor(
    readonly failure: MicrophoneFailure,
    options?: ErrorOptions,
  ) {
    super(failure, options);
  }
}

export class Microphone {
  #muted = false;

  private constructor(
    private readonly stream: MediaStream,
    private readonly node: AudioWorkletNode,
    private readonly ownContext: AudioContext | null,
  ) {}

  /**
   * Asks for the microphone; throws MicrophoneError. `onPacket` gets the packets, `onLost` is called when
   * the device goes away later.
   */
  static async open(
    context: AudioContext,
    onPacket: (pcm: Int16Array<ArrayBuffer>) => void,
    onLost: () => void,
  ): Promise<Microphone> {
    const stream = await askForStream();
    try {
      const { source, ownContext } = await connectSource(context, stream);
      const sink = source.context;
      await sink.audioWorklet.addModule(captureUrl);
      const node = new AudioWorkletNode(sink, CAPTURE_NAME, { channelCount: 1, channelCountMode: "explicit" });
      const microphone = new Microphone(stream, node, ownContext);
      node.port.onmessage = ({ data }: MessageEvent<Int16Array<ArrayBuffer>>) => {
        if (!microphone.#muted) {
          onPacket(data);
        }
      };
      source.connect(node);
      // Some browsers only run nodes that lead to the output; this one gives silence.
      node.connect(sink.destination);
      stream.getAudioTracks()[0]?.addEventListener("ended", onLost);
      return microphone;
    } catch (error) {
      stopTracks(stream);
      throw new MicrophoneError("failed", { cause: error });
    }
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    for (const track of this.stream.getAudioTracks()) {
      track.enabled = !muted;
    }
  }

  close(): void {
    this.node.disconnect();
    stopTracks(this.stream);
    void this.ownContext?.close();
  }
}

function stopTracks(stream: MediaStream): void {
  for (const track of stream.getTracks()) {
    track.stop();
  }
}

async function askForStream(): Promise<MediaStream> {
  // Absent where the page is neither on https nor on this machine itself.
  const devices: MediaDevices | undefined = navigator.mediaDevices;
  if (!devices) {
    throw new MicrophoneError("missing");
  }
  try {
    return await devices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    const failure: MicrophoneFailure =
      name === "NotAllowedError" || name === "SecurityError"
        ? "refused"
        : name === "NotFoundError" || name === "OverconstrainedError"
          ? "missing"
          : "failed";
    throw new MicrophoneError(failure, { cause: error });
  }
}

/** Firefox will not connect a microphone to a context of another rate: then it gets a context of its own. */
async function connectSource(
  context: AudioContext,
  stream: MediaStream,
): Promise<{ source: MediaStreamAudioSourceNode; ownContext: AudioContext | null }> {
  try {
    return { source: context.createMediaStreamSource(stream), ownContext: null };
  } catch {
    const ownContext = new AudioContext();
    await ownContext.resume();
    return { source: ownContext.createMediaStreamSource(stream), ownContext };
  }
}
