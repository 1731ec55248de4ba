import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeMedia,
  encodeMicrophone,
  HEADER_BYTES,
  ProtocolError,
  parseServerMessage,
  pcmSamples,
  statsFigures,
} from "../src/transport/protocol";

function media(kind: number, flags: number, epoch: number, sample: bigint, payload: Uint8Array): ArrayBuffer {
  const message = new ArrayBuffer(HEADER_BYTES + payload.length);
  const view = new DataView(message);
  view.setUint8(0, kind);
  view.setUint8(1, flags);
  view.setUint32(4, epoch, true);
  view.setBigUint64(8, sample, true);
  new Uint8Array(message, HEADER_BYTES).set(payload);
  return message;
}

describe("media messages", () => {
  it("read back what was written", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 3),
        fc.boolean(),
        fc.nat(0xffffffff),
        fc.bigInt(0n, BigInt(Number.MAX_SAFE_INTEGER)),
        fc.uint8Array({ maxLength: 64 }).filter((bytes) => bytes.length % 2 === 0),
        (kind, speech, epoch, sample, payload) => {
          const packet = decodeMedia(media(kind, speech ? 1 : 0, epoch, sample, payload));
          expect(packet).toMatchObject({ kind: kind === 2 ? "audio" : "video", speech, epoch, sample: Number(sample) });
          expect([...packet.payload]).toEqual([...payload]);
        },
      ),
    );
  });

  it("are refused when short, unknown, odd or absurd", () => {
    expect(() => decodeMedia(new ArrayBuffer(15))).toThrow(ProtocolError);
    expect(() => decodeMedia(media(9, 0, 0, 0n, new Uint8Array()))).toThrow("unknown media kind 9");
    expect(() => decodeMedia(media(2, 0, 0, 0n, new Uint8Array(3)))).toThrow("half a sample");
    expect(() => decodeMedia(media(2, 0, 0, 2n ** 60n, new Uint8Array(2)))).toThrow("out of range");
  });

  it("carry the microphone little-endian behind its header", () => {
    const message = encodeMicrophone(Int16Array.of(1, -2, 32767), 640);
    expect([...new Uint8Array(message)]).toEqual([
      ...[1, 0, 0, 0, 0, 0, 0, 0, 128, 2, 0, 0, 0, 0, 0, 0],
      ...[1, 0, 254, 255, 255, 127],
    ]);
  });

  it("give PCM samples at any byte offset", () => {
    const bytes = new Uint8Array([9, 1, 0, 254, 255]);
    expect([...pcmSamples(bytes.subarray(1))]).toEqual([1, -2]);
  });
});

describe("text messages", () => {
  it("are typed, with defaults for what is left out", () => {
    expect(parseServerMessage('{"type":"caption","segment":3,"text":"Hi"}')).toEqual({
      type: "caption",
      segment: "3",
      text: "Hi",
      final: false,
      start_sample: null,
    });
    expect(parseServerMessage('{"type":"hello","session":"s"}')).toMatchObject({ sample_rate: 24000, fps: 25 });
  });

  it("of unknown type are skipped, broken ones are errors that name the field", () => {
    expect(parseServerMessage('{"type":"applause"}')).toBeNull();
    expect(() => parseServerMessage("{")).toThrow(ProtocolError);
    expect(() => parseServerMessage("[]")).toThrow(ProtocolError);
    expect(() => parseServerMessage('{"type":"state","state":"dancing"}')).toThrow("state.state");
    expect(() => parseServerMessage('{"type":"hello","session":"s","sample_rate":16000}')).toThrow("sample_rate");
  });

  it("never crash the reader", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parseServerMessage(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });

  it("show plain statistics only", () => {
    const message = parseServerMessage('{"type":"stats","fps":24.987,"deep":{"a":1},"gpu":null,"on":true}');
    expect(message?.type === "stats" && statsFigures(message)).toEqual({ fps: "24.99", gpu: "-", on: "true" });
  });
});
