/** The seam between the page and whatever carries the conversation. */
import type { CaptionUpdate } from "../ui/captions";
import type { Offer, Wish } from "../ui/wishes";
import type { AvatarState } from "./protocol";

export interface SessionInfo {
  readonly title: string;
  readonly language: string;
  readonly disclosure: string;
  readonly debug: boolean;
  /** The motion's controls, when the server lets the page move them. */
  readonly controls: Offer | null;
  /** The same conversation goes on, after a reload or a lost connection. */
  readonly resumed: boolean;
}

export type ConnectionStatus =
  | { readonly kind: "connecting" }
  | { readonly kind: "open" }
  /** Lost; the next attempt comes after `retryInMs`. */
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly retryInMs: number }
  /** Given up: only the visitor can try again. */
  | { readonly kind: "lost" }
  /** Another window has the conversation. */
  | { readonly kind: "busy"; readonly message: string; readonly hint: string | null }
  /** The server refuses for good. */
  | { readonly kind: "refused"; readonly code: string; readonly message: string; readonly hint: string | null }
  | { readonly kind: "ended"; readonly reason: string };

export type MicrophoneStatus = "off" | "asking" | "on" | "refused" | "missing" | "failed";

export interface TransportEvents {
  info: SessionInfo;
  connection: ConnectionStatus;
  state: AvatarState;
  caption: CaptionUpdate;
  /** The avatar was cut short; `heardSample` as in CaptionStore. */
  cleared: { readonly heardSample: number | null };
  microphone: MicrophoneStatus;
  /** The browser wants another gesture before it plays sound. */
  soundBlocked: boolean;
  /** Shape of the pictures to come; the page shows through where they are transparent. */
  picture: { readonly width: number; readonly height: number; readonly transparent: boolean };
  /** The first picture of the avatar is on the page. */
  firstFrame: null;
  /** No agent has come although the connection stands. */
  agentMissing: boolean;
  problem: { readonly code: string; readonly message: string; readonly hint: string | null };
  latency: { readonly turn: string; readonly marksMs: Record<string, number | null> };
  stats: Record<string, string>;
}

export interface Transport {
  readonly events: Emitter<TransportEvents>;
  /** Opens the connection, or opens it again after it was lost or ended. */
  connect(): void;
  /**
   * Begins the conversation. Call it from a user gesture: it unlocks sound and, with `microphone`, asks
   * for the microphone. Resolves when that is decided; a refusal is an event, not an error.
   */
  start(microphone: boolean): Promise<void>;
  sendText(text: string): void;
  setMuted(muted: boolean): void;
  /** Stop talking. */
  stop(): void;
  /** Asks something of the avatar's face and head; only with an offer of controls. */
  ask(wish: Wish): void;
  /** Another gesture after `soundBlocked`. */
  unlockSound(): Promise<void>;
  /** Ends the conversation. */
  end(): void;
  /** Stream sample being heard, where the transport knows; captions wait for it. */
  heardSample(): number | null;
  /** Figures for the debug panel. */
  figures(): Record<string, string>;
}

type Listener<T> = (value: T) => void;

/** A typed event source. */
export class Emitter<Events extends object> {
  readonly #listeners: { [K in keyof Events]?: Listener<Events[K]>[] } = {};

  on<K extends keyof Events>(name: K, listener: Listener<Events[K]>): void {
    const listeners = this.#listeners[name] ?? [];
    listeners.push(listener);
    this.#listeners[name] = listeners;
  }

  emit<K extends keyof Events>(name: K, value: Events[K]): void {
    for (const listener of this.#listeners[name] ?? []) {
      listener(value);
    }
  }
}
