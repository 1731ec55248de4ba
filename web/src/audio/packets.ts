/** Cuts a stream of float samples into PCM16 packets of one fixed length. */
export class Packetiser {
  #packet: Int16Array<ArrayBuffer>;
  #filled = 0;

  constructor(private readonly length: number) {
    this.#packet = new Int16Array(length);
  }

  push(samples: Float32Array): Int16Array<ArrayBuffer>[] {
    const complete: Int16Array<ArrayBuffer>[] = [];
    for (const value of samples) {
      this.#packet[this.#filled++] = Math.round(Math.min(1, Math.max(-1, value)) * 32767);
      if (this.#filled === this.length) {
        complete.push(this.#packet);
        this.#packet = new Int16Array(this.length);
        this.#filled = 0;
      }
    }
    return complete;
  }
}
