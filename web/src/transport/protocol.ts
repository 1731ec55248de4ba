/**
 * The kiosk wire protocol (docs/kiosk-protocol.md): JSON text messages and binary media with a 16-byte
 * little-endian header: u8 kind, u8 flags (bit 0 speech), u16 reserved, u32 epoch, u64 sample.
 */
import * as v from "valibot";
import { STREAM_RATE } from "../clock";
import type { Wish } from "../ui/wishes";

export const HEADER_BYTES = 16;

export const Kind = { microphone: 1, audio: 2, video: 3 } as const;
const FLAG_SPEECH = 1;

/** The server sent something that this page cannot understand. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

export interface MediaPacket {
  readonly kind: "audio" | "video";
  readonly speech: boolean;
  readonly epoch: number;
  /** Position on the 24 kHz stream clock. */
  readonly sample: number;
  /** PCM16LE mono, or a JPEG. A view into the received message. */
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** Splits a binary message; throws ProtocolError when it is not audio or video. */
export function decodeMedia(message: ArrayBuffer): MediaPacket {
  if (message.byteLength < HEADER_BYTES) {
    throw new ProtocolError(`media message of ${message.byteLength} bytes is shorter than its header`);
  }
  const header = new DataView(message);
  const code = header.getUint8(0);
  const kind = code === Kind.audio ? "audio" : code === Kind.video ? "video" : null;
  if (kind === null) {
    throw new ProtocolError(`unknown media kind ${code}`);
  }
  const sample = Number(header.getBigUint64(8, true));
  if (!Number.isSafeInteger(sample)) {
    throw new ProtocolError("sample number out of range");
  }
  if (kind === "audio" && (message.byteLength - HEADER_BYTES) % 2 !== 0) {
    throw new ProtocolError("audio message holds half a sample");
  }
  return {
    kind,
    speech: (header.getUint8(1) & FLAG_SPEECH) !== 0,
    epoch: header.getUint32(4, true),
    sample,
    payload: new Uint8Array(message, HEADER_BYTES),
  };
}

/** One microphone message; `sample` counts at 16 kHz. */
export function encodeMicrophone(pcm: Int16Array, sample: number, epoch = 0): ArrayBuffer {
  const message = new ArrayBuffer(HEADER_BYTES + pcm.length * 2);
  const view = new DataView(message);
  view.setUint8(0, Kind.microphone);
  view.setUint32(4, epoch, true);
  view.setBigUint64(8, BigInt(sample), true);
  for (let i = 0; i < pcm.length; i++) {
    view.setInt16(HEADER_BYTES + 2 * i, pcm[i] ?? 0, true);
  }
  return message;
}

/** PCM16LE bytes as samples; copies, so it works at any byte offset. */
export function pcmSamples(payload: Uint8Array<ArrayBuffer>): Int16Array<ArrayBuffer> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const pcm = new Int16Array(payload.byteLength >> 1);
  for (let i = 0; i < pcm.length; i++) {
    pcm[i] = view.getInt16(2 * i, true);
  }
  return pcm;
}

const AvatarStateSchema = v.picklist(["idle", "listening", "thinking", "speaking"]);
export type AvatarState = v.InferOutput<typeof AvatarStateSchema>;

// Segment ids are strings by contract; numbers are let in because some programs count.
const SegmentSchema = v.pipe(v.union([v.string(), v.number()]), v.transform(String));
const FigureSchema = v.nullable(v.union([v.number(), v.string(), v.boolean()]));

const WishSchema = v.object({
  emotion: v.string(),
  liveliness: v.number(),
  gaze: v.tuple([v.number(), v.number()]),
  distance: v.number(),
});
export const OfferSchema = v.object({ emotions: v.array(v.string()), now: WishSchema, configured: WishSchema });

const ServerMessageSchema = v.variant("type", [
  v.object({
    type: v.literal("hello"),
    session: v.string(),
    version: v.optional(v.string(), ""),
    profile: v.optional(v.string(), ""),
    title: v.optional(v.string(), ""),
    language: v.optional(v.string(), "en"),
    sample_rate: v.optional(v.literal(STREAM_RATE), STREAM_RATE),
    fps: v.optional(v.number(), 25),
    width: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 512),
    height: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 512),
    alpha: v.optional(v.boolean(), false),
    disclosure: v.optional(v.string(), ""),
    debug: v.optional(v.boolean(), false),
    controls: v.nullish(OfferSchema, null),
  }),
  v.object({ type: v.literal("state"), state: AvatarStateSchema }),
  v.object({
    type: v.literal("transcript"),
    segment: SegmentSchema,
    text: v.string(),
    final: v.optional(v.boolean(), false),
  }),
  v.object({
    type: v.literal("caption"),
    segment: SegmentSchema,
    text: v.string(),
    final: v.optional(v.boolean(), false),
    start_sample: v.nullish(v.number(), null),
  }),
  v.object({ type: v.literal("clear"), epoch: v.number() }),
  v.object({
    type: v.literal("latency"),
    turn: SegmentSchema,
    marks_ms: v.record(v.string(), v.nullable(v.number())),
  }),
  v.looseObject({ type: v.literal("stats") }),
  v.object({
    type: v.literal("error"),
    code: v.string(),
    message: v.optional(v.string(), ""),
    hint: v.nullish(v.string(), null),
    fatal: v.optional(v.boolean(), false),
  }),
  v.object({ type: v.literal("bye"), reason: v.optional(v.string(), "") }),
]);
export type ServerMessage = v.InferOutput<typeof ServerMessageSchema>;
export type Hello = Extract<ServerMessage, { type: "hello" }>;

const TypedSchema = v.looseObject({ type: v.string() });
const KNOWN_TYPES = new Set<string>(ServerMessageSchema.options.map((option) => option.entries.type.literal));

/**
 * Reads a text message. A type that this page does not know gives null (a newer server may speak of
 * more); a known type with wrong fields throws ProtocolError.
 */
export function parseServerMessage(text: string): ServerMessage | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ProtocolError("message is not JSON");
  }
  const typed = v.safeParse(TypedSchema, json);
  if (!typed.success) {
    throw new ProtocolError("message has no type");
  }
  if (!KNOWN_TYPES.has(typed.output.type)) {
    return null;
  }
  const result = v.safeParse(ServerMessageSchema, json);
  if (!result.success) {
    const issue = result.issues[0];
    throw new ProtocolError(`${typed.output.type}.${v.getDotPath(issue) ?? "?"}: ${issue.message}`);
  }
  return result.output;
}

/** The plain figures of a stats message, for the debug panel. */
export function statsFigures(message: Extract<ServerMessage, { type: "stats" }>): Record<string, string> {
  const figures: Record<string, string> = {};
  for (const [name, value] of Object.entries(message)) {
    if (name !== "type" && v.is(FigureSchema, value)) {
      figures[name] = typeof value === "number" ? String(Math.round(value * 100) / 100) : String(value ?? "-");
    }
  }
  return figures;
}

export type ClientMessage =
  | { type: "start"; microphone: boolean }
  | { type: "text"; text: string }
  | { type: "stop" }
  | { type: "mute"; muted: boolean }
  | ({ type: "controls"; version: 1 } & Wish)
  | { type: "played"; sample: number; av_offset_ms: number | null }
  | { type: "bye" };
