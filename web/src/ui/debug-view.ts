/** The technical panel's figures: latency of the last turn, the stream's health, the server's figures. */
import { text } from "../messages";
import { make } from "./elements";

export interface TurnLatency {
  readonly turn: string;
  readonly marksMs: Record<string, number | null>;
}

export function drawDebug(
  box: HTMLElement,
  turn: TurnLatency | null,
  stream: Record<string, string>,
  server: Record<string, string>,
): void {
  const latency = Object.entries(turn?.marksMs ?? {}).map(([name, ms]): [string, string] => [
    text.debug.marks[name] ?? name.replaceAll("_", " "),
    ms === null ? "-" : `${Math.round(ms)} ms`,
  ]);
  const sections = [
    section(text.debug.latency, turn ? latency : [[text.debug.none, ""]]),
    section(text.debug.stream, Object.entries(stream)),
  ];
  if (Object.keys(server).length > 0) {
    sections.push(section(text.debug.server, Object.entries(server)));
  }
  box.replaceChildren(...sections);
}

function section(title: string, rows: readonly [string, string][]): HTMLElement {
  const box = make("section");
  const list = make("dl");
  for (const [name, value] of rows) {
    list.append(make("dt", "", name), make("dd", "", value));
  }
  box.append(make("h2", "", title), list);
  return box;
}
