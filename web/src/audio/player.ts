/** The loudspeaker side: audio packets in, and which sample is being heard out. */
import { STREAM_RATE } from "../clock";
import { HeardClock, heardContextTime } from "./heard-clock";
import { type FromPlayer, PLAYER_NAME, type ToPlayer } from "./messages";
import playerUrl from "./player.worklet.ts?worker&url";
import type { PlayoutStats } from "./playout";

export class Player {
  readonly context: AudioContext;
  readonly #clock: HeardClock;
  #node: AudioWorkletNode | null = null;
  #stats: PlayoutStats | null = null;
  #generation = 0;

  private constructor(context: AudioContext) {
    this.context = context;
    this.#clock = new HeardClock(context.sampleRate);
  }

  /** Call it from a user gesture; resolves when packets may be pushed. */
  static async open(): Promise<Player> {
    const player = new Player(openContext());
    const { context } = player;
    const resumed = context.resume();
    await context.audioWorklet.addModule(playerUrl);
    const node = new AudioWorkletNode(context, PLAYER_NAME, {
      numberOfInputs: 0,
      numberOfOutputs: 1,
      outputChannelCount: [1],
    });
    node.port.onmessage = ({ data }: MessageEvent<FromPlayer>) => player.#reported(data);
    node.connect(context.destination);
    player.#node = node;
    // A browser that wants another gesture leaves resume() pending: the caller looks at `blocked`.
    await Promise.race([resumed, new Promise((done) => setTimeout(done, 300))]);
    return player;
  }

  /** The browser has not let the sound start. */
  get blocked(): boolean {
    return this.context.state === "suspended";
  }

  get stats(): PlayoutStats | null {
    return this.#stats;
  }

  push(sample: number, epoch: number, pcm: Int16Array<ArrayBuffer>): void {
    this.#send({ type: "audio", sample, epoch, pcm }, [pcm.buffer]);
  }

  clear(epoch: number): void {
    this.#send({ type: "clear", epoch });
  }

  /** A new stream begins. */
  reset(): void {
    this.#generation++;
    this.#send({ type: "reset", generation: this.#generation });
    this.#clock.reset();
  }

  /** The stream sample being heard now; null until sound has begun. */
  heardSample(): number | null {
    if (this.context.state !== "running") {
      return null;
    }
    return this.#clock.sampleAt(heardContextTime(this.context, performance.now()));
  }

  async close(): Promise<void> {
    this.#node?.disconnect();
    await this.context.close();
  }

  #send(message: ToPlayer, transfer: Transferable[] = []): void {
    this.#node?.port.postMessage(message, transfer);
  }

  #reported({ generation, anchor, stats }: FromPlayer): void {
    if (generation === this.#generation && anchor !== null) {
      this.#stats = stats;
      this.#clock.add(anchor);
    }
  }
}

/** A context at the stream's own rate where the browser can; else the worklet resamples. */
function openContext(): AudioContext {
  try {
    return new AudioContext({ sampleRate: STREAM_RATE, latencyHint: "interactive" });
  } catch {
    return new AudioContext({ latencyHint: "interactive" });
  }
}
