/** The motion's controls in the technical panel: emotion, liveliness, gaze, distance. */
import { text } from "../messages";
import { make } from "./elements";
import { joinEmotion, NEUTRAL, type Offer, RANGES, splitEmotion, Throttle, type Wish } from "./wishes";

const SEND_EVERY_MS = 100;
const words = text.motion;

export class ControlsView {
  readonly #emotion = make("select");
  readonly #strength = slider(0.05, 1, 0.05);
  readonly #liveliness = slider(0, 1, 0.05);
  readonly #azimuth = slider(-RANGES.azimuth, RANGES.azimuth, 1);
  readonly #elevation = slider(-RANGES.elevation, RANGES.elevation, 1);
  readonly #distance = slider(RANGES.nearest, RANGES.farthest, 0.01);
  readonly #outputs = new Map<HTMLElement, HTMLOutputElement>();
  readonly #throttle: Throttle<Wish>;
  #offer: Offer | null = null;

  constructor(
    private readonly form: HTMLFormElement,
    onWish: (wish: Wish) => void,
  ) {
    this.#throttle = new Throttle(SEND_EVERY_MS, onWish);
    const reset = make("button", "quiet", words.reset);
    reset.type = "button";
    reset.addEventListener("click", () => this.#reset());
    const head = make("div", "motion-head");
    head.append(make("h2", "", words.title), reset);
    form.replaceChildren(
      head,
      this.#row("motion-emotion", words.emotion, this.#emotion),
      this.#row("motion-strength", words.strength, this.#strength),
      this.#row("motion-liveliness", words.liveliness, this.#liveliness),
      this.#row("motion-azimuth", words.azimuth, this.#azimuth),
      this.#row("motion-elevation", words.elevation, this.#elevation),
      this.#row("motion-distance", words.distance, this.#distance),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      this.#label();
      this.#throttle.push(this.#wish());
    });
    this.show(null);
  }

  /** The controls as the server has them; null hides them. */
  show(offer: Offer | null): void {
    this.#throttle.cancel();
    this.#offer = offer;
    this.form.hidden = offer === null;
    if (offer !== null) {
      this.#set(offer.now);
    }
  }

  #reset(): void {
    if (this.#offer !== null) {
      this.#set(this.#offer.configured);
      this.#throttle.push(this.#offer.configured);
    }
  }

  #set(wish: Wish): void {
    const { emotions = [], configured = wish } = this.#offer ?? {};
    const single = splitEmotion(wish.emotion);
    const mixtures = [configured.emotion, wish.emotion].filter((emotion) => splitEmotion(emotion) === null);
    this.#emotion.replaceChildren(
      ...emotions.map((name) => new Option(words.emotions[name] ?? name, name)),
      ...[...new Set(mixtures)].map((mixture) => new Option(mixture.replaceAll("+", " + "), mixture)),
    );
    this.#emotion.value = single?.name ?? wish.emotion;
    this.#strength.value = String(single?.strength ?? 1);
    this.#liveliness.value = String(wish.liveliness);
    this.#azimuth.value = String(wish.gaze[0]);
    this.#elevation.value = String(wish.gaze[1]);
    this.#distance.value = String(wish.distance);
    this.#label();
  }

  #wish(): Wish {
    const chosen = this.#emotion.value;
    return {
      emotion: splitEmotion(chosen) === null ? chosen : joinEmotion(chosen, Number(this.#strength.value)),
      liveliness: Number(this.#liveliness.value),
      gaze: [Number(this.#azimuth.value), Number(this.#elevation.value)],
      distance: Number(this.#distance.value),
    };
  }

  #label(): void {
    const chosen = this.#emotion.value;
    const measured = chosen !== NEUTRAL && splitEmotion(chosen) !== null;
    this.#strength.disabled = !measured;
    this.#tell(this.#strength, measured ? words.percent(Number(this.#strength.value)) : "–");
    this.#tell(this.#liveliness, words.livelinessOf(Number(this.#liveliness.value)));
    this.#tell(this.#azimuth, words.azimuthOf(Number(this.#azimuth.value)));
    this.#tell(this.#elevation, words.elevationOf(Number(this.#elevation.value)));
    this.#tell(this.#distance, words.distanceOf(Number(this.#distance.value)));
  }

  #tell(input: HTMLInputElement, value: string): void {
    input.setAttribute("aria-valuetext", value);
    const output = this.#outputs.get(input);
    if (output) {
      output.textContent = value;
    }
  }

  #row(id: string, name: string, input: HTMLInputElement | HTMLSelectElement): HTMLElement {
    const row = make("div", "motion-row");
    const label = make("label", "", name);
    input.id = id;
    label.htmlFor = id;
    row.append(label, input);
    if (input instanceof HTMLInputElement) {
      const output = make("output");
      output.htmlFor.add(id);
      // Screen readers have it from the slider itself.
      output.ariaHidden = "true";
      this.#outputs.set(input, output);
      row.append(output);
    }
    return row;
  }
}

function slider(min: number, max: number, step: number): HTMLInputElement {
  const input = make("input");
  input.type = "range";
  input.min = String(min);
  input.max = String(max);
  input.step = String(step);
  return input;
}
