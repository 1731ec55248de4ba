/** Every text of the page, in English. */
import type { AvatarState } from "./transport/protocol";

export const text = {
  appName: "visavis",
  avatarLabel: "Video of the avatar",
  conversationLabel: "Conversation",
  controlsLabel: "Controls",
  skipToText: "Skip to the text box",
  disclosure: "You are talking with an AI assistant. The face is AI-generated.",

  start: "Start talking",
  startHint: "Your browser will ask to use the microphone. You can also just type.",
  startAgain: "Start again",
  tryAgain: "Try again",
  connecting: "Connecting…",
  starting: "One moment…",
  askingMicrophone: "Please allow the microphone in your browser.",

  states: {
    idle: "Ready",
    listening: "Listening",
    thinking: "Thinking",
    speaking: "Speaking",
  } satisfies Record<AvatarState, string>,

  mute: "Mute",
  unmute: "Unmute",
  muteHint: "Mute the microphone. Hold to mute only while you hold (M)",
  unmuteHint: "Let the avatar hear you again (M)",
  noMicrophone: "No mic",
  noMicrophoneHint: "Use the microphone",
  stop: "Stop talking",
  stopHint: "Stop the avatar talking (Esc)",
  end: "End",
  endHint: "End the conversation",

  inputLabel: "Type a message",
  inputPlaceholder: "Type a message…",
  send: "Send",

  you: "You",
  emptyTitle: "Ask me anything",
  emptyHint: "Speak after you press Start, or type below.",
  interrupted: "interrupted",

  details: "Technical details",
  detailsHint: "Show or hide technical details (D)",
  dismiss: "Dismiss",

  motion: {
    title: "Motion",
    reset: "As configured",
    emotion: "Emotion",
    strength: "Strength",
    liveliness: "Liveliness",
    azimuth: "Gaze aside",
    elevation: "Gaze up",
    distance: "Distance",
    emotions: {
      neutral: "Neutral",
      warm: "Warm",
      happy: "Happy",
      sad: "Sad",
      concerned: "Concerned",
      surprised: "Surprised",
      firm: "Firm",
    } as Record<string, string>,
    percent: (share: number) => `${Math.round(share * 100)} %`,
    livelinessOf: (share: number) =>
      share === 0 ? "composed" : share === 0.5 ? "usual" : share === 1 ? "animated" : share.toFixed(2),
    azimuthOf: (degrees: number) =>
      degrees === 0 ? "straight" : `${Math.abs(degrees)}° ${degrees < 0 ? "left" : "right"}`,
    elevationOf: (degrees: number) =>
      degrees === 0 ? "level" : `${Math.abs(degrees)}° ${degrees < 0 ? "down" : "up"}`,
    distanceOf: (multiple: number) => (multiple === 1 ? "usual" : `${multiple.toFixed(2)} ×`),
  },

  notices: {
    reconnecting: (seconds: number) =>
      seconds > 0 ? `Connection lost. Trying again in ${seconds} s.` : "Connection lost. Reconnecting…",
    retryNow: "Retry now",
    lost: "The connection is lost.",
    microphoneRefused: "The microphone is blocked, so I cannot hear you. You can type instead.",
    microphoneRefusedHint: "To talk, allow the microphone in the browser's address bar.",
    microphoneMissing: "No microphone was found. You can type instead.",
    microphoneFailed: "The microphone could not be used. You can type instead.",
    tryMicrophone: "Try the microphone again",
    soundBlocked: "Your browser is holding back the sound.",
    playSound: "Play sound",
    soundFailed: "This browser could not start the sound.",
    soundFailedHint: "Open the page on https or on this machine itself, in a current browser.",
    agentMissing: "The avatar has not joined yet. It may be busy; please wait or try again.",
  },

  panels: {
    busyTitle: "Already open elsewhere",
    busy: "This conversation is open in another window.",
    busyHint: "Go back to that window, or close it and try again here.",
    refusedTitle: "This page cannot connect",
    refused: "The server refused the connection.",
    lostTitle: "Connection lost",
    lost: "I could not reach the server.",
    lostHint: "Check that it is running and that you are online.",
    endedTitle: "Goodbye!",
    ended: {
      idle: "The conversation ended because it was quiet for a while.",
      time: "This conversation has reached its time limit.",
      error: "Something went wrong on the server, so the conversation ended.",
      shutdown: "The server was stopped.",
      visitor: "You ended the conversation.",
      other: "The conversation has ended.",
    },
  },

  debug: {
    latency: "Last turn, ms after you stopped speaking",
    turn: "turn",
    stream: "Stream",
    server: "Server",
    none: "No turn yet",
    marks: {
      speech_end: "end of speech",
      transcript: "transcript",
      turn_end: "end of turn",
      first_text: "first text",
      first_audio: "first audio",
      first_frame: "first frame",
    } as Record<string, string>,
  },
} as const;
