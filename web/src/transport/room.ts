/** The room transport: the same conversation through a LiveKit server (docs/web.md says what it expects). */
import {
  DisconnectReason,
  MediaDeviceFailure,
  type RemoteParticipant,
  type RemoteTrack,
  Room,
  RoomEvent,
  setLogLevel,
  type TextStreamReader,
} from "livekit-client";
import * as v from "valibot";
import type { Wish } from "../ui/wishes";
import { type AvatarState, OfferSchema, parseServerMessage, statsFigures } from "./protocol";
import { ReconnectPolicy } from "./reconnect";
import {
  ATTRIBUTE_FINAL,
  ATTRIBUTE_SEGMENT,
  ATTRIBUTE_STATE,
  RPC_CONTROLS,
  RPC_STOP,
  rolesOf,
  TOPIC_CHAT,
  TOPIC_LATENCY,
  TOPIC_STATS,
  TOPIC_TRANSCRIPTION,
} from "./room-roles";
import { Emitter, type MicrophoneStatus, type Transport, type TransportEvents } from "./transport";

const AGENT_TIMEOUT_MS = 20_000;
/** An agent that has left may be replaced within this time. */
const AGENT_BACK_MS = 5_000;

/** Answer of GET /token: where to join and as whom, and optionally what to write on the page. */
const TicketSchema = v.object({
  url: v.string(),
  token: v.string(),
  title: v.optional(v.string(), ""),
  language: v.optional(v.string(), "en"),
  disclosure: v.optional(v.string(), ""),
  debug: v.optional(v.boolean(), false),
  controls: v.nullish(OfferSchema, null),
});
type Ticket = v.InferOutput<typeof TicketSchema>;

const STATES: Record<string, AvatarState> = { listening: "listening", thinking: "thinking", speaking: "speaking" };

export interface RoomOptions {
  readonly video: HTMLVideoElement;
  /** Address of the token endpoint, with the link's key. */
  readonly tokenUrl: string;
}

export class RoomTransport implements Transport {
  readonly events = new Emitter<TransportEvents>();
  readonly #reconnect = new ReconnectPolicy();
  #ticket: Ticket | null = null;
  #room: Room | null = null;
  #wantsMicrophone = false;
  #muted = false;
  #retryTimer: number | undefined;
  #agentTimer: number | undefined;
  #agentSeen = false;
  /** Asked before the agent was there, and told to it when it is. */
  #wish: Wish | null = null;
  #agentReady = false;

  constructor(private readonly options: RoomOptions) {
    setLogLevel("warn");
    options.video.addEventListener("resize", () => {
      const { videoWidth: width, videoHeight: height } = options.video;
      if (width > 0 && height > 0) {
        this.events.emit("picture", { width, height, transparent: false });
      }
    });
    options.video.addEventListener("loadeddata", () => {
      options.video.hidden = false;
      this.events.emit("firstFrame", null);
    });
  }

  /** Gets the ticket. The room is joined on start, so that nobody is greeted before they are ready. */
  connect(): void {
    window.clearTimeout(this.#retryTimer);
    const started = this.#room !== null;
    this.events.emit("connection", { kind: "connecting" });
    void this.#fetchTicket().then(async (ticket) => {
      if (!ticket) {
        return;
      }
      this.#ticket = ticket;
      this.#reconnect.succeeded();
      const { title, language, disclosure, debug, controls } = ticket;
      this.#wish = null;
      this.events.emit("info", { title, language, disclosure, debug, controls, resumed: started });
      if (started) {
        await this.#join();
      } else {
        this.events.emit("connection", { kind: "open" });
      }
    });
  }

  async start(microphone: boolean): Promise<void> {
    this.#wantsMicrophone = microphone;
    if (this.#room?.state === "connected") {
      await this.#publishMicrophone();
    } else {
      await this.#join();
    }
    await this.#room?.startAudio().catch(() => this.events.emit("soundBlocked", true));
  }

  sendText(text: string): void {
    void this.#room?.localParticipant.sendText(text, { topic: TOPIC_CHAT });
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (this.#wantsMicrophone) {
      void this.#room?.localParticipant.setMicrophoneEnabled(!muted);
    }
  }

  stop(): void {
    this.#call(RPC_STOP, "");
  }

  ask(wish: Wish): void {
    this.#wish = wish;
    if (this.#agentReady) {
      this.#call(RPC_CONTROLS, JSON.stringify({ version: 1, ...wish }));
    }
  }

  async unlockSound(): Promise<void> {
    await this.#room?.startAudio();
  }

  end(): void {
    this.#leave();
    this.events.emit("connection", { kind: "ended", reason: "visitor" });
  }

  heardSample(): null {
    return null;
  }

  figures(): Record<string, string> {
    const { video } = this.options;
    const quality = video.getVideoPlaybackQuality();
    return {
      picture: `${video.videoWidth} x ${video.videoHeight}`,
      "frames shown / dropped": `${quality.totalVideoFrames} / ${quality.droppedVideoFrames}`,
      connection: this.#room?.localParticipant.connectionQuality ?? "-",
    };
  }

  async #fetchTicket(): Promise<Ticket | null> {
    try {
      const response = await fetch(this.options.tokenUrl, { cache: "no-store" });
      if (response.status === 409) {
        this.events.emit("connection", { kind: "busy", message: "", hint: null });
        return null;
      }
      if (response.status >= 400 && response.status < 500) {
        const message = await response.text();
        this.events.emit("connection", { kind: "refused", code: String(response.status), message, hint: null });
        return null;
      }
      if (!response.ok) {
        throw new Error(`token endpoint answered ${response.status}`);
      }
      return v.parse(TicketSchema, await response.json());
    } catch (error) {
      console.warn("token:", error);
      this.#retryLater();
      return null;
    }
  }

  #retryLater(): void {
    const delay = this.#reconnect.nextDelayMs();
    if (delay === null) {
      this.#reconnect.succeeded();
      this.#leave();
      this.events.emit("connection", { kind: "lost" });
      return;
    }
    const { attempt } = this.#reconnect;
    this.events.emit("connection", { kind: "reconnecting", attempt, retryInMs: delay });
    this.#retryTimer = window.setTimeout(() => this.connect(), delay);
  }

  async #join(): Promise<void> {
    const ticket = this.#ticket ?? (await this.#fetchTicket());
    // A ticket is good for one visit.
    this.#ticket = null;
    if (!ticket) {
      return;
    }
    await this.#room?.disconnect();
    const room = this.#makeRoom();
    this.#room = room;
    this.#agentSeen = false;
    this.#agentReady = false;
    try {
      await room.connect(ticket.url, ticket.token);
    } catch (error) {
      console.warn("room:", error);
      this.#retryLater();
      return;
    }
    this.events.emit("connection", { kind: "open" });
    this.#cast();
    await this.#publishMicrophone();
  }

  #makeRoom(): Room {
    const room = new Room({
      adaptiveStream: false,
      audioCaptureDefaults: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    room
      .on(RoomEvent.Reconnecting, () =>
        this.events.emit("connection", { kind: "reconnecting", attempt: 1, retryInMs: 0 }),
      )
      .on(RoomEvent.Reconnected, () => this.events.emit("connection", { kind: "open" }))
      .on(RoomEvent.Disconnected, (reason) => this.#disconnected(reason))
      .on(RoomEvent.ParticipantConnected, () => this.#cast())
      .on(RoomEvent.ParticipantDisconnected, () => this.#cast())
      .on(RoomEvent.ParticipantAttributesChanged, () => this.#cast())
      .on(RoomEvent.TrackSubscribed, () => this.#cast())
      .on(RoomEvent.TrackUnsubscribed, (track) => track.detach())
      .on(RoomEvent.AudioPlaybackStatusChanged, (playing) => this.events.emit("soundBlocked", !playing))
      .on(RoomEvent.MediaDevicesError, (error) => this.#microphoneFailed(error))
      .on(RoomEvent.DataReceived, (payload, _from, _kind, topic) => this.#dataReceived(payload, topic));
    room.registerTextStreamHandler(TOPIC_TRANSCRIPTION, (reader, from) => {
      void this.#readTranscription(reader, from.identity);
    });
    return room;
  }

  /** What was asked before the agent was ready, once it is: its first state says so. */
  #tellAgent(agent: RemoteParticipant): void {
    if (!this.#agentReady && agent.attributes[ATTRIBUTE_STATE]) {
      this.#agentReady = true;
      if (this.#wish) {
        this.ask(this.#wish);
      }
    }
  }

  #call(method: string, payload: string): void {
    const { agent } = this.#roles();
    if (agent) {
      this.#room?.localParticipant
        .performRpc({ destinationIdentity: agent.identity, method, payload })
        .catch((error: unknown) => console.warn(`${method}:`, error));
    }
  }

  /** Finds agent and avatar and shows the avatar's tracks; picture and sound always of the same participant. */
  #cast(): void {
    const { agent, avatar } = this.#roles();
    window.clearTimeout(this.#agentTimer);
    if (agent) {
      this.#agentSeen = true;
      this.#tellAgent(agent);
      this.events.emit("agentMissing", false);
    } else {
      this.#watchForAgent();
    }
    this.events.emit("state", STATES[agent?.attributes[ATTRIBUTE_STATE] ?? ""] ?? "idle");
    for (const publication of avatar?.trackPublications.values() ?? []) {
      const track: RemoteTrack | undefined = publication.track;
      // One element for both, so that the browser keeps them in step.
      if (track && !track.attachedElements.includes(this.options.video)) {
        track.attach(this.options.video);
      }
    }
  }

  #roles() {
    return rolesOf<RemoteParticipant>(this.#room?.remoteParticipants.values() ?? []);
  }

  /** An agent that does not come gets a banner; one that has gone for good has ended the conversation. */
  #watchForAgent(): void {
    const patience = this.#agentSeen ? AGENT_BACK_MS : AGENT_TIMEOUT_MS;
    this.#agentTimer = window.setTimeout(() => {
      if (this.#room?.state !== "connected" || this.#roles().agent !== null) {
        return;
      }
      if (this.#agentSeen) {
        this.#leave();
        this.events.emit("connection", { kind: "ended", reason: "other" });
      } else {
        this.events.emit("agentMissing", true);
      }
    }, patience);
  }

  async #publishMicrophone(): Promise<void> {
    const local = this.#room?.localParticipant;
    if (!this.#wantsMicrophone || !local || this.#room?.state !== "connected") {
      return;
    }
    this.events.emit("microphone", "asking");
    try {
      await local.setMicrophoneEnabled(!this.#muted);
      this.events.emit("microphone", "on");
    } catch (error) {
      this.#microphoneFailed(error);
    }
  }

  #microphoneFailed(error: unknown): void {
    const known: Partial<Record<MediaDeviceFailure, MicrophoneStatus>> = {
      [MediaDeviceFailure.PermissionDenied]: "refused",
      [MediaDeviceFailure.NotFound]: "missing",
    };
    const failure = MediaDeviceFailure.getFailure(error);
    this.#wantsMicrophone = false;
    this.events.emit("microphone", (failure && known[failure]) ?? "failed");
  }

  async #readTranscription(reader: TextStreamReader, identity: string): Promise<void> {
    const segment = reader.info.attributes?.[ATTRIBUTE_SEGMENT] ?? reader.info.id;
    const speaker = identity === this.#room?.localParticipant.identity ? "visitor" : "avatar";
    let words = "";
    const tell = (final: boolean) =>
      this.events.emit("caption", { speaker, segment, text: words, final, startSample: null });
    try {
      for await (const piece of reader) {
        words += piece;
        tell(false);
      }
    } catch (error) {
      console.warn("transcription cut off:", error);
    }
    // The closing header says whether that was all of the segment.
    tell(reader.info.attributes?.[ATTRIBUTE_FINAL] === "true");
  }

  #dataReceived(payload: Uint8Array, topic: string | undefined): void {
    if (topic !== TOPIC_LATENCY && topic !== TOPIC_STATS) {
      return;
    }
    try {
      const message = parseServerMessage(new TextDecoder().decode(payload));
      if (message?.type === "latency") {
        this.events.emit("latency", { turn: message.turn, marksMs: message.marks_ms });
      } else if (message?.type === "stats") {
        this.events.emit("stats", statsFigures(message));
      }
    } catch (error) {
      console.warn(topic, error);
    }
  }

  #disconnected(reason: DisconnectReason | undefined): void {
    switch (reason) {
      case DisconnectReason.CLIENT_INITIATED:
        return;
      case DisconnectReason.DUPLICATE_IDENTITY:
        this.#leave();
        this.events.emit("connection", { kind: "busy", message: "", hint: null });
        return;
      case DisconnectReason.ROOM_DELETED:
      case DisconnectReason.ROOM_CLOSED:
      case DisconnectReason.PARTICIPANT_REMOVED:
        this.#leave();
        this.events.emit("connection", { kind: "ended", reason: "other" });
        return;
      default:
        this.#retryLater();
    }
  }

  #leave(): void {
    window.clearTimeout(this.#retryTimer);
    window.clearTimeout(this.#agentTimer);
    const room = this.#room;
    this.#room = null;
    void room?.disconnect();
    this.options.video.srcObject = null;
    this.options.video.hidden = true;
    this.events.emit("microphone", "off");
    this.events.emit("agentMissing", false);
  }
}
