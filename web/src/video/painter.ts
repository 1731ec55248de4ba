/** Shows on each screen refresh the video frame that belongs to the sound being heard. */
import { FrameQueue, offsetMs } from "./frame-queue";
import { withOpacity } from "./opacity";

export interface PainterFigures {
  readonly shown: number;
  readonly late: number;
  readonly waiting: number;
  readonly offsetMs: number | null;
}

export class Painter {
  readonly #queue = new FrameQueue<ImageBitmap>((jpeg) => createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })));
  readonly #surface: CanvasRenderingContext2D;
  #shown = 0;
  #shownSample: number | null = null;
  #offset: number | null = null;
  #running = false;
  #unfolding: CanvasRenderingContext2D | null = null;

  /** `heardSample` gives null while there is no sound: frames are then shown as they come. */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly heardSample: () => number | null,
    private readonly onFirstFrame: () => void,
  ) {
    const surface = canvas.getContext("2d");
    if (!surface) {
      throw new Error("this browser cannot draw on a canvas");
    }
    this.#surface = surface;
  }

  get figures(): PainterFigures {
    return {
      shown: this.#shown,
      late: this.#queue.late + this.#queue.overflowed,
      waiting: this.#queue.length,
      offsetMs: this.#offset,
    };
  }

  start(): void {
    if (!this.#running) {
      this.#running = true;
      requestAnimationFrame(this.#refresh);
    }
  }

  stop(): void {
    this.#running = false;
  }

  push(sample: number, epoch: number, jpeg: Uint8Array<ArrayBuffer>): void {
    this.#queue.push(sample, epoch, jpeg);
    // Decode at once, so that a frame is ready even when it comes just in time.
    this.#queue.prepare(this.#now());
  }

  clear(epoch: number): void {
    this.#queue.clear(epoch);
  }

  /**
   * A new stream begins; the last picture stays until its first frame. Pictures that are `transparent` carry
   * their opacity in grey below themselves.
   */
  reset(transparent = false): void {
    this.#queue.reset();
    this.#unfolding = transparent
      ? document.createElement("canvas").getContext("2d", { willReadFrequently: true })
      : null;
    this.#shownSample = null;
    this.#offset = null;
  }

  readonly #refresh = (): void => {
    if (!this.#running) {
      return;
    }
    const heard = this.#now();
    this.#queue.prepare(heard);
    const frame = this.#queue.take(heard);
    if (frame) {
      this.#draw(frame.picture);
      this.#shownSample = frame.sample;
      if (this.#shown++ === 0) {
        this.onFirstFrame();
      }
    }
    const sounding = this.heardSample();
    this.#offset = sounding === null || this.#shownSample === null ? null : offsetMs(this.#shownSample, sounding);
    requestAnimationFrame(this.#refresh);
  };

  #now(): number {
    return this.heardSample() ?? Number.POSITIVE_INFINITY;
  }

  #draw(picture: ImageBitmap): void {
    const unfolding = this.#unfolding;
    const { width } = picture;
    const height = unfolding ? Math.floor(picture.height / 2) : picture.height;
    resize(this.canvas, width, height);
    if (unfolding) {
      resize(unfolding.canvas, width, 2 * height);
      unfolding.drawImage(picture, 0, 0);
      const both = unfolding.getImageData(0, 0, width, 2 * height);
      this.#surface.putImageData(new ImageData(withOpacity(both.data), width, height), 0, 0);
    } else {
      this.#surface.drawImage(picture, 0, 0);
    }
    picture.close();
  }
}

function resize(canvas: HTMLCanvasElement, width: number, height: number): void {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
}
