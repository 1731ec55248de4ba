/** Who is who in a LiveKit room, by the conventions of livekit-agents. */

export const ATTRIBUTE_STATE = "lk.agent.state";
export const ATTRIBUTE_ON_BEHALF = "lk.publish_on_behalf";
export const ATTRIBUTE_SEGMENT = "lk.segment_id";
export const ATTRIBUTE_FINAL = "lk.transcription_final";
export const TOPIC_TRANSCRIPTION = "lk.transcription";
export const TOPIC_CHAT = "lk.chat";
/** Ours: RPC to the agent, and data topics from it. */
export const RPC_STOP = "visavis.stop";
export const RPC_CONTROLS = "visavis.controls";
export const TOPIC_LATENCY = "visavis.latency";
export const TOPIC_STATS = "visavis.stats";

/** The part of a LiveKit participant that decides its role. */
export interface Attendee {
  readonly identity: string;
  readonly isAgent: boolean;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface Roles<P extends Attendee> {
  /** Holds the conversation: state, captions, typed input. */
  readonly agent: P | null;
  /** Is seen and heard: the worker that publishes on the agent's behalf, else the agent itself. */
  readonly avatar: P | null;
}

export function rolesOf<P extends Attendee>(participants: Iterable<P>): Roles<P> {
  const everyone = [...participants];
  const agent = everyone.find((one) => one.isAgent && !one.attributes[ATTRIBUTE_ON_BEHALF]) ?? null;
  const worker = everyone.find((one) => agent && one.attributes[ATTRIBUTE_ON_BEHALF] === agent.identity);
  return { agent, avatar: worker ?? agent };
}
