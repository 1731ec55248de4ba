/** The conversation in writing: one list item per segment, scrolled along unless the visitor reads back. */
import { text } from "../messages";
import type { Caption, CaptionStore } from "./captions";
import { make, type PageElements } from "./elements";

const NEAR_END_PX = 80;
const KEPT_ANNOUNCEMENTS = 5;

export class CaptionView {
  readonly #items = new Map<string, HTMLLIElement>();
  readonly #announced = new Set<string>();
  #drawn = "";
  #following = true;
  #height = 0;

  constructor(
    private readonly elements: PageElements,
    private readonly store: CaptionStore,
  ) {
    const { log } = elements;
    log.addEventListener("scroll", () => {
      // A change of height also scrolls: only the visitor's own scrolling says whether to follow.
      if (log.clientHeight === this.#height) {
        this.#following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
      }
    });
    // A turned phone or its keyboard changes the height: the newest words stay in view.
    new ResizeObserver(() => {
      this.#height = log.clientHeight;
      this.#follow();
    }).observe(log);
  }

  /** Brings the page in line with the store; cheap when nothing has changed. */
  draw(heardSample: number | null): void {
    const captions = this.store.visible(heardSample);
    const fingerprint = JSON.stringify(captions);
    if (fingerprint === this.#drawn) {
      return;
    }
    this.#drawn = fingerprint;
    const { empty, captions: list } = this.elements;
    empty.hidden = captions.length > 0;
    if (captions.length === 0) {
      this.elements.announcer.replaceChildren();
    }
    const wanted = new Set(captions.map((caption) => caption.key));
    for (const [key, item] of this.#items) {
      if (!wanted.has(key)) {
        item.remove();
        this.#items.delete(key);
        this.#announced.delete(key);
      }
    }
    for (const [index, caption] of captions.entries()) {
      this.#drawCaption(caption, list, index);
    }
    this.#follow();
  }

  #follow(): void {
    const { log } = this.elements;
    if (this.#following) {
      log.scrollTop = log.scrollHeight;
    }
  }

  #drawCaption(caption: Caption, list: HTMLOListElement, index: number): void {
    let item = this.#items.get(caption.key);
    if (!item) {
      item = make("li", caption.speaker);
      item.append(make("span", "who", caption.speaker === "visitor" ? text.you : ""), make("p"));
      this.#items.set(caption.key, item);
    }
    if (list.children[index] !== item) {
      list.insertBefore(item, list.children[index] ?? null);
    }
    item.dataset.final = String(caption.final);
    const paragraph = item.querySelector("p");
    if (paragraph) {
      paragraph.textContent = caption.text;
      if (caption.interrupted) {
        paragraph.append(" ", make("span", "cut", `(${text.interrupted})`));
      }
    }
    if (caption.final && !this.#announced.has(caption.key)) {
      this.#announced.add(caption.key);
      this.#announce(caption);
    }
  }

  /** Whole sentences only: a screen reader would stumble over growing ones. */
  #announce(caption: Caption): void {
    const { announcer } = this.elements;
    const words = caption.speaker === "visitor" ? `${text.you}: ${caption.text}` : caption.text;
    announcer.append(make("p", "", words));
    while (announcer.children.length > KEPT_ANNOUNCEMENTS) {
      announcer.firstElementChild?.remove();
    }
  }
}
