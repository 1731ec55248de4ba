import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { text } from "../src/messages";
import { ReconnectPolicy } from "../src/transport/reconnect";
import { type Attendee, rolesOf } from "../src/transport/room-roles";
import type { ConnectionStatus } from "../src/transport/transport";
import { HoldToggle } from "../src/ui/hold";
import { notices, panel, type Situation } from "../src/ui/notices";

describe("ReconnectPolicy", () => {
  it("doubles up to its longest delay, gives up, and begins again after a success", () => {
    const policy = new ReconnectPolicy({ firstDelayMs: 500, longestDelayMs: 3000, attempts: 5, random: () => 1 });
    const delays = () => Array.from({ length: 6 }, () => policy.nextDelayMs());
    expect(delays()).toEqual([500, 1000, 2000, 3000, 3000, null]);
    policy.succeeded();
    expect(policy.nextDelayMs()).toBe(500);
  });

  it("spreads its delays within 75 to 100 % of the step", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.999, noNaN: true }), (chance) => {
        const delay = new ReconnectPolicy({ firstDelayMs: 1000, random: () => chance }).nextDelayMs();
        expect(delay).toBeGreaterThanOrEqual(750);
        expect(delay).toBeLessThanOrEqual(1000);
      }),
    );
  });
});

describe("HoldToggle", () => {
  const pressed = (toggle: HoldToggle, at: number, ms: number) => {
    toggle.press(at);
    const during = toggle.on;
    toggle.release(at + ms);
    return [during, toggle.on];
  };

  it("flips on a short press and lasts only as long as a long one", () => {
    const changes: boolean[] = [];
    const toggle = new HoldToggle((on) => changes.push(on));
    expect(pressed(toggle, 0, 100)).toEqual([true, true]);
    expect(pressed(toggle, 1000, 100)).toEqual([true, false]);
    expect(pressed(toggle, 2000, 900)).toEqual([true, false]);
    expect(changes).toEqual([true, false, true, false]);
  });

  it("keeps its state when the press is taken away", () => {
    const toggle = new HoldToggle(() => {});
    toggle.press(0);
    toggle.cancel();
    toggle.release(5000);
    expect(toggle.on).toBe(true);
  });
});

describe("rolesOf", () => {
  const person = (identity: string, isAgent: boolean, behalf?: string): Attendee => ({
    identity,
    isAgent,
    attributes: behalf ? { "lk.publish_on_behalf": behalf } : {},
  });

  it("takes the agent for the avatar where no worker publishes for it", () => {
    const agent = person("agent-1", true);
    expect(rolesOf([person("visitor", false), agent])).toEqual({ agent, avatar: agent });
  });

  it("takes the agent's own worker, whoever comes first, and nobody else's", () => {
    const agent = person("agent-1", true);
    const worker = person("worker", true, "agent-1");
    const stranger = person("stranger", true, "agent-2");
    fc.assert(
      fc.property(fc.shuffledSubarray([agent, worker, stranger], { minLength: 3 }), (everyone) => {
        expect(rolesOf(everyone)).toEqual({ agent, avatar: worker });
      }),
    );
    expect(rolesOf([worker])).toEqual({ agent: null, avatar: null });
  });
});

describe("notices and panel", () => {
  const situation = (change: Partial<Situation>): Situation => ({
    connection: { kind: "open" },
    microphone: "on",
    started: true,
    soundBlocked: false,
    agentMissing: false,
    problem: null,
    retryInSeconds: 0,
    ...change,
  });
  const ids = (change: Partial<Situation>) => notices(situation(change)).map(({ id }) => id);

  it("say nothing when all is well", () => {
    expect(ids({})).toEqual([]);
    expect(panel({ kind: "open" }, true, true)).toBeNull();
  });

  it("tell of a refused microphone only after the start, with a way to try again", () => {
    expect(ids({ microphone: "refused", started: false })).toEqual([]);
    const [notice] = notices(situation({ microphone: "refused" }));
    expect(notice).toMatchObject({ tone: "warning", action: { name: "microphone" } });
    expect(notice?.message).toContain("type");
  });

  it("tell of a lost connection before anything else, and count down", () => {
    const lost: ConnectionStatus = { kind: "reconnecting", attempt: 2, retryInMs: 1000 };
    const list = notices(situation({ connection: lost, soundBlocked: true, retryInSeconds: 3 }));
    expect(list.map(({ id }) => id)).toEqual(["reconnecting"]);
    expect(list[0]?.message).toContain("3 s");
  });

  it("stack what stands side by side", () => {
    const problem = { code: "dialogue", message: "No answer", hint: null };
    expect(ids({ soundBlocked: true, problem, microphone: "missing" })).toEqual([
      "sound",
      "problem-dialogue",
      "missing",
    ]);
  });

  it("put a card over the picture for every state that has no conversation", () => {
    const ended = panel({ kind: "ended", reason: "idle" }, false, false);
    expect(ended).toMatchObject({ id: "ended", message: text.panels.ended.idle, action: text.startAgain });
    expect(panel({ kind: "ended", reason: "never heard of" }, false, false)?.message).toBe(text.panels.ended.other);
    expect(panel({ kind: "busy", message: "", hint: null }, false, false)?.message).toBe(text.panels.busy);
    expect(
      panel({ kind: "refused", code: "x", message: "Old link", hint: "Use the new one" }, false, false),
    ).toMatchObject({
      message: "Old link",
      hint: "Use the new one",
    });
    expect(panel({ kind: "open" }, false, false)?.action).toBe(text.start);
    expect(panel({ kind: "reconnecting", attempt: 1, retryInMs: 1 }, true, true)).toBeNull();
  });
});
