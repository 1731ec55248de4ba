/** The kiosk transport: one websocket to the server that also served this page. */
import { Microphone, MicrophoneError } from "../audio/microphone";
import { Player } from "../audio/player";
import type { Wish } from "../ui/wishes";
import { Painter } from "../video/painter";
import {
  type ClientMessage,
  decodeMedia,
  encodeMicrophone,
  type Hello,
  ProtocolError,
  parseServerMessage,
  pcmSamples,
  type ServerMessage,
  statsFigures,
} from "./protocol";
import { ReconnectPolicy } from "./reconnect";
import { Emitter, type Transport, type TransportEvents } from "./transport";

const HELLO_TIMEOUT_MS = 10_000;
const PLAYED_EVERY_MS = 250;
/** Ten seconds of microphone: past this the network is gone and packets are dropped. */
const LARGEST_BACKLOG_BYTES = 320_000;

export interface KioskOptions {
  readonly canvas: HTMLCanvasElement;
  /** The websocket's address without its query, e.g. ws://127.0.0.1:8080/ws. */
  readonly url: string;
  readonly token: string;
  /** Keeps the session secret over a reload. */
  readonly storage: Storage;
}

const SESSION_KEY = "visavis.session";

export class KioskTransport implements Transport {
  readonly events = new Emitter<TransportEvents>();
  readonly #painter: Painter;
  readonly #reconnect = new ReconnectPolicy();
  #socket: WebSocket | null = null;
  #greeted = false;
  #player: Player | null = null;
  #microphone: Microphone | null = null;
  #microphoneSample = 0;
  #microphoneDropped = 0;
  #muted = false;
  #started = false;
  #closing = false;
  #retryTimer: number | undefined;
  #helloTimer: number | undefined;

  constructor(private readonly options: KioskOptions) {
    options.canvas.hidden = false;
    this.#painter = new Painter(
      options.canvas,
      () => this.heardSample(),
      () => this.events.emit("firstFrame", null),
    );
    this.#painter.start();
    window.setInterval(() => this.#sendPlayed(), PLAYED_EVERY_MS);
    window.addEventListener("online", () => this.#retryNow());
  }

  connect(): void {
    window.clearTimeout(this.#retryTimer);
    this.#reconnect.succeeded();
    this.#open();
  }

  async start(microphone: boolean): Promise<void> {
    const player = await this.#openPlayer();
    this.#started = true;
    if (microphone && !this.#microphone) {
      await this.#openMicrophone(player);
    }
    this.#announceStart();
  }

  sendText(text: string): void {
    this.#send({ type: "text", text });
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#microphone?.setMuted(muted);
    this.#send({ type: "mute", muted });
  }

  stop(): void {
    this.#send({ type: "stop" });
  }

  ask(wish: Wish): void {
    this.#send({ type: "controls", version: 1, ...wish });
  }

  async unlockSound(): Promise<void> {
    await this.#player?.context.resume();
    this.events.emit("soundBlocked", this.#player?.blocked ?? false);
  }

  end(): void {
    this.#send({ type: "bye" });
    this.#finish({ kind: "ended", reason: "visitor" });
  }

  heardSample(): number | null {
    return this.#player?.heardSample() ?? null;
  }

  figures(): Record<string, string> {
    const { shown, late, waiting, offsetMs } = this.#painter.figures;
    const audio = this.#player?.stats;
    const context = this.#player?.context;
    return {
      "picture against sound": offsetMs === null ? "-" : `${offsetMs.toFixed(0)} ms`,
      "frames shown / late / waiting": `${shown} / ${late} / ${waiting}`,
      "audio waiting / kept / target": audio
        ? `${audio.levelMs.toFixed(0)} / ${audio.marginMs.toFixed(0)} / ${audio.targetMs.toFixed(0)} ms`
        : "-",
      "audio underruns / dropped": audio ? `${audio.underruns} / ${audio.droppedMs.toFixed(0)} ms` : "-",
      "audio output": context
        ? `${context.sampleRate} Hz, ${((context.outputLatency || context.baseLatency || 0) * 1000).toFixed(0)} ms`
        : "-",
      "microphone packets dropped": String(this.#microphoneDropped),
    };
  }

  #open(): void {
    this.#dropSocket();
    this.#closing = false;
    this.events.emit("connection", { kind: "connecting" });
    const query = new URLSearchParams({ token: this.options.token });
    const session = this.options.storage.getItem(SESSION_KEY);
    if (session) {
      query.set("session", session);
    }
    const socket = new WebSocket(`${this.options.url}?${query}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      try {
        if (typeof data === "string") {
          this.#receive(parseServerMessage(data));
        } else {
          this.#receiveMedia(data);
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) {
          throw error;
        }
        console.warn(`ignored a message: ${error.message}`);
      }
    };
    socket.onclose = () => this.#lost(socket);
    this.#socket = socket;
    this.#helloTimer = window.setTimeout(() => socket.close(), HELLO_TIMEOUT_MS);
  }

  #dropSocket(): void {
    window.clearTimeout(this.#helloTimer);
    window.clearTimeout(this.#retryTimer);
    this.#greeted = false;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #lost(socket: WebSocket): void {
    if (socket !== this.#socket || this.#closing) {
      return;
    }
    this.#dropSocket();
    const delay = this.#reconnect.nextDelayMs();
    if (delay === null) {
      this.events.emit("connection", { kind: "lost" });
      return;
    }
    const { attempt } = this.#reconnect;
    this.events.emit("connection", { kind: "reconnecting", attempt, retryInMs: delay });
    this.#retryTimer = window.setTimeout(() => this.#open(), delay);
  }

  #retryNow(): void {
    if (this.#socket === null && !this.#closing) {
      this.connect();
    }
  }

  /** No more attempts: the conversation is over or refused. */
  #finish(status: TransportEvents["connection"]): void {
    this.#closing = true;
    this.#dropSocket();
    this.#started = false;
    this.#microphone?.close();
    this.#microphone = null;
    this.events.emit("microphone", "off");
    void this.#player?.close();
    this.#player = null;
    this.events.emit("connection", status);
  }

  #receive(message: ServerMessage | null): void {
    switch (message?.type) {
      case "hello":
        this.#greet(message);
        break;
      case "state":
        this.events.emit("state", message.state);
        break;
      case "transcript":
        this.events.emit("caption", {
          speaker: "visitor",
          segment: message.segment,
          text: message.text,
          final: message.final,
          startSample: null,
        });
        break;
      case "caption":
        this.events.emit("caption", {
          speaker: "avatar",
          segment: message.segment,
          text: message.text,
          final: message.final,
          startSample: message.start_sample,
        });
        break;
      case "clear": {
        const heardSample = this.heardSample();
        this.#player?.clear(message.epoch);
        this.#painter.clear(message.epoch);
        this.events.emit("cleared", { heardSample });
        break;
      }
      case "latency":
        this.events.emit("latency", { turn: message.turn, marksMs: message.marks_ms });
        break;
      case "stats":
        this.events.emit("stats", statsFigures(message));
        break;
      case "error":
        this.#fail(message);
        break;
      case "bye":
        this.#finish({ kind: "ended", reason: message.reason });
        break;
    }
  }

  #greet(hello: Hello): void {
    window.clearTimeout(this.#helloTimer);
    this.#greeted = true;
    this.#reconnect.succeeded();
    const { storage } = this.options;
    const resumed = storage.getItem(SESSION_KEY) === hello.session;
    storage.setItem(SESSION_KEY, hello.session);
    this.#player?.reset();
    this.#painter.reset(hello.alpha);
    this.events.emit("picture", { width: hello.width, height: hello.height, transparent: hello.alpha });
    this.events.emit("info", {
      title: hello.title,
      language: hello.language,
      disclosure: hello.disclosure,
      debug: hello.debug,
      controls: hello.controls,
      resumed,
    });
    this.events.emit("connection", { kind: "open" });
    if (this.#started) {
      this.#announceStart();
    }
  }

  #fail(error: Extract<ServerMessage, { type: "error" }>): void {
    const { code, message, hint, fatal } = error;
    if (!fatal) {
      this.events.emit("problem", { code, message, hint });
    } else if (code === "busy") {
      this.#finish({ kind: "busy", message, hint });
    } else {
      this.options.storage.removeItem(SESSION_KEY);
      this.#finish({ kind: "refused", code, message, hint });
    }
  }

  #receiveMedia(data: ArrayBuffer): void {
    const { kind, sample, epoch, payload } = decodeMedia(data);
    if (kind === "video") {
      this.#painter.push(sample, epoch, payload);
    } else {
      this.#player?.push(sample, epoch, pcmSamples(payload));
    }
  }

  async #openPlayer(): Promise<Player> {
    if (this.#player === null) {
      const player = await Player.open();
      // The visitor may have pressed twice while the first player was opening.
      if (this.#player !== null) {
        await player.close();
        return this.#player;
      }
      this.#player = player;
      player.context.onstatechange = () => this.events.emit("soundBlocked", player.blocked);
      this.events.emit("soundBlocked", player.blocked);
    }
    return this.#player;
  }

  async #openMicrophone(player: Player): Promise<void> {
    this.events.emit("microphone", "asking");
    try {
      const microphone = await Microphone.open(
        player.context,
        (pcm) => this.#sendMicrophone(pcm),
        () => {
          this.#microphone?.close();
          this.#microphone = null;
          this.events.emit("microphone", "missing");
          this.#announceStart();
        },
      );
      microphone.setMuted(this.#muted);
      this.#microphone = microphone;
      this.events.emit("microphone", "on");
    } catch (error) {
      if (!(error instanceof MicrophoneError)) {
        throw error;
      }
      console.warn("microphone:", error.cause ?? error.failure);
      this.events.emit("microphone", error.failure);
    }
  }

  #announceStart(): void {
    this.#send({ type: "start", microphone: this.#microphone !== null });
    if (this.#muted) {
      this.#send({ type: "mute", muted: true });
    }
  }

  #sendMicrophone(pcm: Int16Array): void {
    const sample = this.#microphoneSample;
    this.#microphoneSample += pcm.length;
    const socket = this.#socket;
    if (!this.#greeted || socket?.readyState !== WebSocket.OPEN) {
      return;
    }
    if (socket.bufferedAmount > LARGEST_BACKLOG_BYTES) {
      this.#microphoneDropped++;
      return;
    }
    socket.send(encodeMicrophone(pcm, sample));
  }

  #sendPlayed(): void {
    const heard = this.heardSample();
    if (this.#started && heard !== null && heard >= 0) {
      const { offsetMs } = this.#painter.figures;
      const offset = offsetMs === null ? null : Math.round(offsetMs * 10) / 10;
      this.#send({ type: "played", sample: Math.round(heard), av_offset_ms: offset });
    }
  }

  #send(message: ClientMessage): void {
    if (this.#greeted && this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify(message));
    }
  }
}
