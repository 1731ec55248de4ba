/** What was said, by segment: the visitor's transcript and the avatar's captions, bounded. */

export type Speaker = "visitor" | "avatar";

export interface CaptionUpdate {
  readonly speaker: Speaker;
  readonly segment: string;
  /** The whole text of the segment so far. */
  readonly text: string;
  readonly final: boolean;
  /** Stream sample at which the segment begins to sound; null shows it at once. */
  readonly startSample: number | null;
}

export interface Caption extends CaptionUpdate {
  /** Never changes for a segment: a stable key for the page. */
  readonly key: string;
  /** The visitor cut this reply short. */
  readonly interrupted: boolean;
}

export class CaptionStore {
  #captions: Caption[] = [];

  constructor(private readonly capacity = 60) {}

  /** Adds a segment or replaces its text; a segment once final stays final. */
  update(update: CaptionUpdate): void {
    const key = `${update.speaker}:${update.segment}`;
    const index = this.#captions.findIndex((caption) => caption.key === key);
    const known = this.#captions[index];
    if (known) {
      this.#captions[index] = {
        ...known,
        text: update.text,
        final: known.final || update.final,
        startSample: update.startSample ?? known.startSample,
      };
      return;
    }
    if (update.text.trim() === "") {
      return;
    }
    this.#captions.push({ ...update, key, interrupted: false });
    if (this.#captions.length > this.capacity) {
      this.#captions.shift();
    }
  }

  /** The avatar was cut short: replies not begun are forgotten, the one being spoken is marked. */
  interrupt(heardSample: number | null): void {
    this.#captions = this.#captions
      .filter((caption) => caption.speaker === "visitor" || caption.final || begun(caption, heardSample))
      .map((caption) =>
        caption.speaker === "avatar" && !caption.final ? { ...caption, final: true, interrupted: true } : caption,
      );
  }

  clear(): void {
    this.#captions = [];
  }

  /** Captions to show while `heardSample` sounds, oldest first; an empty text hides its segment. */
  visible(heardSample: number | null): readonly Caption[] {
    return this.#captions.filter((caption) => caption.text.trim() !== "" && begun(caption, heardSample));
  }
}

function begun(caption: Caption, heardSample: number | null): boolean {
  return caption.startSample === null || heardSample === null || caption.startSample <= heardSample;
}
