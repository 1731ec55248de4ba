/** The avatar's one clock: 24 kHz samples, 25 pictures a second; and the microphone's own rate. */
export const STREAM_RATE = 24_000;
export const FRAME_SAMPLES = STREAM_RATE / 25;
export const MICROPHONE_RATE = 16_000;
