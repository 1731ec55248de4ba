/** Which banners the page shows: a pure function of what is the case. */
import { text } from "../messages";
import type { ConnectionStatus, MicrophoneStatus } from "../transport/transport";

export type NoticeAction = "retry" | "microphone" | "sound" | "dismiss";

export interface Notice {
  /** Stable, so that an unchanged banner is left alone. */
  readonly id: string;
  readonly tone: "info" | "warning" | "error";
  readonly message: string;
  readonly hint: string | null;
  readonly action: { readonly name: NoticeAction; readonly label: string } | null;
}

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export interface Situation {
  readonly connection: ConnectionStatus;
  readonly microphone: MicrophoneStatus;
  readonly started: boolean;
  readonly soundBlocked: boolean;
  readonly agentMissing: boolean;
  readonly problem: Problem | null;
  /** Seconds until the next attempt, counted down by the page. */
  readonly retryInSeconds: number;
}

/** Banners in the order of their weight. */
export function notices(situation: Situation): Notice[] {
  const { connection, problem } = situation;
  const list: Notice[] = [];
  if (connection.kind === "reconnecting") {
    list.push({
      id: "reconnecting",
      tone: "warning",
      message: text.notices.reconnecting(situation.retryInSeconds),
      hint: null,
      action: { name: "retry", label: text.notices.retryNow },
    });
  }
  if (connection.kind !== "open") {
    return list;
  }
  if (situation.soundBlocked) {
    list.push({
      id: "sound",
      tone: "warning",
      message: text.notices.soundBlocked,
      hint: null,
      action: { name: "sound", label: text.notices.playSound },
    });
  }
  if (problem) {
    list.push({
      id: `problem-${problem.code}`,
      tone: "error",
      message: problem.message,
      hint: problem.hint,
      action: { name: "dismiss", label: text.dismiss },
    });
  }
  if (situation.agentMissing) {
    list.push({
      id: "agent",
      tone: "warning",
      message: text.notices.agentMissing,
      hint: null,
      action: { name: "retry", label: text.tryAgain },
    });
  }
  if (situation.started) {
    list.push(...microphoneNotice(situation.microphone));
  }
  return list;
}

function microphoneNotice(status: MicrophoneStatus): Notice[] {
  const action = { name: "microphone", label: text.notices.tryMicrophone } as const;
  switch (status) {
    case "asking":
      return [{ id: "asking", tone: "info", message: text.askingMicrophone, hint: null, action: null }];
    case "refused":
      return [
        {
          id: "refused",
          tone: "warning",
          message: text.notices.microphoneRefused,
          hint: text.notices.microphoneRefusedHint,
          action,
        },
      ];
    case "missing":
      return [{ id: "missing", tone: "warning", message: text.notices.microphoneMissing, hint: null, action }];
    case "failed":
      return [{ id: "failed", tone: "warning", message: text.notices.microphoneFailed, hint: null, action }];
    case "off":
    case "on":
      return [];
  }
}

/** The card over the picture: what stands between the visitor and the conversation. */
export interface Panel {
  readonly id: "connecting" | "start" | "starting" | "lost" | "busy" | "refused" | "ended";
  readonly title: string | null;
  readonly message: string;
  readonly hint: string | null;
  readonly action: string | null;
}

export function panel(connection: ConnectionStatus, started: boolean, live: boolean): Panel | null {
  const none = { title: null, hint: null, action: null };
  switch (connection.kind) {
    case "connecting":
      return started ? null : { ...none, id: "connecting", message: text.connecting };
    case "open":
      if (!started) {
        return { ...none, id: "start", message: text.startHint, action: text.start };
      }
      return live ? null : { ...none, id: "starting", message: text.starting };
    case "reconnecting":
      return started ? null : { ...none, id: "connecting", message: text.connecting };
    case "lost":
      return {
        id: "lost",
        title: text.panels.lostTitle,
        message: text.panels.lost,
        hint: text.panels.lostHint,
        action: text.tryAgain,
      };
    case "busy":
      return {
        id: "busy",
        title: text.panels.busyTitle,
        message: connection.message || text.panels.busy,
        hint: connection.hint ?? text.panels.busyHint,
        action: text.tryAgain,
      };
    case "refused":
      return {
        id: "refused",
        title: text.panels.refusedTitle,
        message: connection.message || text.panels.refused,
        hint: connection.hint,
        action: text.tryAgain,
      };
    case "ended":
      return {
        id: "ended",
        title: text.panels.endedTitle,
        message: endedMessage(connection.reason),
        hint: null,
        action: text.startAgain,
      };
  }
}

function endedMessage(reason: string): string {
  const known: Record<string, string> = text.panels.ended;
  return known[reason] ?? text.panels.ended.other;
}
