/** Holds the page together: transport events become state, state becomes what is drawn. */
import { text } from "./messages";
import type { AvatarState } from "./transport/protocol";
import type { ConnectionStatus, MicrophoneStatus, Transport } from "./transport/transport";
import { CaptionView } from "./ui/caption-view";
import { CaptionStore } from "./ui/captions";
import { ControlsView } from "./ui/controls-view";
import { drawDebug, type TurnLatency } from "./ui/debug-view";
import type { PageElements } from "./ui/elements";
import { HoldToggle } from "./ui/hold";
import { NoticeView } from "./ui/notice-view";
import { type NoticeAction, notices, type Problem, panel } from "./ui/notices";

const DRAW_EVERY_MS = 100;
const PROBLEM_SHOWN_MS = 12_000;
const RETURN_AFTER_MS = 10_000;
const DEBUG_KEY = "visavis.details";

export class App {
  readonly #captions = new CaptionStore();
  readonly #captionView: CaptionView;
  readonly #noticeView: NoticeView;
  readonly #controlsView: ControlsView;
  readonly #mute = new HoldToggle((muted) => this.#transport.setMuted(muted));
  readonly #transport: Transport;
  #connection: ConnectionStatus = { kind: "connecting" };
  #microphone: MicrophoneStatus = "off";
  #state: AvatarState = "idle";
  #started = false;
  /** The start gesture has been worked off: sound runs and the microphone is decided. */
  #live = false;
  #soundBlocked = false;
  #agentMissing = false;
  #problem: Problem | null = null;
  #problemTimer: number | undefined;
  #retryAt = 0;
  /** "Start again" was pressed: start as soon as the connection stands. */
  #restarting = false;
  #returnTimer: number | undefined;
  #typed = 0;
  #latency: TurnLatency | null = null;
  #serverFigures: Record<string, string> = {};

  constructor(
    private readonly elements: PageElements,
    transport: Transport,
  ) {
    this.#transport = transport;
    this.#captionView = new CaptionView(elements, this.#captions);
    this.#noticeView = new NoticeView(elements, (action) => this.#act(action));
    this.#controlsView = new ControlsView(elements.motion, (wish) => this.#transport.ask(wish));
    this.#writeTexts();
    this.#listen();
    this.#bindControls();
    this.#showDebug(localStorage.getItem(DEBUG_KEY) === "1");
    window.setInterval(() => this.#draw(), DRAW_EVERY_MS);
    this.#draw();
    transport.connect();
  }

  #writeTexts(): void {
    const page = this.elements;
    page.skip.textContent = text.skipToText;
    page.disclosure.textContent = text.disclosure;
    page.canvas.ariaLabel = text.avatarLabel;
    page.video.ariaLabel = text.avatarLabel;
    page.controls.ariaLabel = text.controlsLabel;
    page.talk.ariaLabel = text.conversationLabel;
    page.log.ariaLabel = text.conversationLabel;
    page.emptyTitle.textContent = text.emptyTitle;
    page.emptyHint.textContent = text.emptyHint;
    page.messageLabel.textContent = text.inputLabel;
    page.message.placeholder = text.inputPlaceholder;
    page.sendLabel.textContent = text.send;
    page.stopLabel.textContent = text.stop;
    page.stop.title = text.stopHint;
    page.endLabel.textContent = text.end;
    page.end.title = text.endHint;
    page.details.textContent = text.details;
    page.details.title = text.detailsHint;
  }

  #listen(): void {
    const { events } = this.#transport;
    const page = this.elements;
    events.on("info", (info) => {
      page.title.textContent = info.title || text.appName;
      document.title = info.title || text.appName;
      page.disclosure.textContent = info.disclosure || text.disclosure;
      page.captions.lang = info.language;
      this.#controlsView.show(info.debug ? info.controls : null);
      // On a narrow page the details would lie over the Start button.
      if (info.debug && localStorage.getItem(DEBUG_KEY) === null && matchMedia("(min-width: 801px)").matches) {
        this.#showDebug(true);
      }
      if (!info.resumed) {
        this.#captions.clear();
        this.#latency = null;
      }
    });
    events.on("connection", (status) => this.#connectionChanged(status));
    events.on("state", (state) => {
      this.#state = state;
      this.#draw();
    });
    events.on("caption", (update) => {
      this.#captions.update(update);
      this.#draw();
    });
    events.on("cleared", ({ heardSample }) => {
      this.#captions.interrupt(heardSample);
      this.#draw();
    });
    events.on("microphone", (status) => {
      this.#microphone = status;
      this.#draw();
    });
    events.on("soundBlocked", (blocked) => {
      this.#soundBlocked = blocked;
      this.#draw();
    });
    events.on("agentMissing", (missing) => {
      this.#agentMissing = missing;
    });
    events.on("picture", ({ width, height, transparent }) => {
      page.app.style.setProperty("--aspect", String(width / height));
      page.app.dataset.shape = width < height ? "upright" : "square";
      page.app.dataset.backdrop = transparent ? "page" : "picture";
    });
    events.on("firstFrame", () => {
      page.app.dataset.picture = "live";
    });
    events.on("problem", (problem) => this.#report(problem));
    events.on("latency", (turn) => {
      this.#latency = turn;
    });
    events.on("stats", (figures) => {
      this.#serverFigures = figures;
    });
  }

  #connectionChanged(status: ConnectionStatus): void {
    this.#connection = status;
    if (status.kind === "reconnecting") {
      this.#retryAt = performance.now() + status.retryInMs;
    }
    if (status.kind === "open") {
      this.#problem = null;
    } else if (status.kind !== "connecting") {
      this.#state = "idle";
    }
    if (status.kind === "ended" && status.reason === "idle") {
      this.#awaitNextVisitor();
    }
    if (status.kind === "open" && this.#restarting) {
      void this.#start(true);
    }
    if (status.kind !== "connecting") {
      this.#restarting = false;
    }
    if (status.kind === "busy" || status.kind === "refused" || status.kind === "ended") {
      this.#started = false;
      this.#live = false;
      this.#soundBlocked = false;
      this.#mute.set(false);
    }
    this.#draw();
  }

  /** On a public screen the last visitor has gone: hide their words, and soon be ready for the next. */
  #awaitNextVisitor(): void {
    this.#captions.clear();
    window.clearTimeout(this.#returnTimer);
    this.#returnTimer = window.setTimeout(() => {
      if (this.#connection.kind === "ended") {
        this.#transport.connect();
      }
    }, RETURN_AFTER_MS);
  }

  #bindControls(): void {
    const page = this.elements;
    page.panelAction.addEventListener("click", () => this.#panelAction());
    page.stop.addEventListener("click", () => this.#transport.stop());
    page.end.addEventListener("click", () => this.#transport.end());
    page.details.addEventListener("click", () => this.#toggleDebug());
    page.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#sendTyped();
    });
    this.#bindMute();
    document.addEventListener("keydown", (event) => this.#keyDown(event));
    document.addEventListener("keyup", (event) => {
      if (event.key.toLowerCase() === "m") {
        this.#releaseMute();
      }
    });
  }

  #bindMute(): void {
    const { mute } = this.elements;
    mute.addEventListener("pointerdown", (event) => {
      if (event.button === 0) {
        mute.setPointerCapture(event.pointerId);
        this.#pressMute();
      }
    });
    mute.addEventListener("pointerup", () => this.#releaseMute());
    mute.addEventListener("pointercancel", () => this.#mute.cancel());
    window.addEventListener("blur", () => this.#mute.cancel());
    mute.addEventListener("click", (event) => {
      // A click without a pointer comes from the keyboard or from assistive technology.
      if (event.detail === 0) {
        this.#pressMute();
        this.#releaseMute();
      }
    });
  }

  #pressMute(): void {
    if (this.#microphone === "on") {
      this.#mute.press(performance.now());
      this.#draw();
    } else if (this.#live) {
      void this.#start(true);
    }
  }

  #releaseMute(): void {
    this.#mute.release(performance.now());
    this.#draw();
  }

  #keyDown(event: KeyboardEvent): void {
    if (event.key === "Escape" && this.#live) {
      this.#transport.stop();
      return;
    }
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (event.key.toLowerCase() === "d") {
      this.#toggleDebug();
    } else if (event.key.toLowerCase() === "m" && this.#live) {
      this.#pressMute();
    }
  }

  #panelAction(): void {
    if (this.#connection.kind === "open") {
      void this.#start(true);
      return;
    }
    this.#restarting = this.#connection.kind === "ended";
    if (this.#restarting) {
      this.#captions.clear();
    }
    this.#transport.connect();
  }

  async #start(microphone: boolean): Promise<void> {
    this.#started = true;
    this.#draw();
    try {
      await this.#transport.start(microphone);
      this.#live = this.#connection.kind === "open" || this.#connection.kind === "reconnecting";
      this.#keepFocus();
    } catch (error) {
      console.error("start failed", error);
      this.#started = false;
      this.#report({ code: "sound", message: text.notices.soundFailed, hint: text.notices.soundFailedHint });
    }
    this.#draw();
  }

  /** The start button has gone: a keyboard goes on from the controls. A text box would open a phone's keyboard. */
  #keepFocus(): void {
    const { mute, panelAction } = this.elements;
    this.#draw();
    if (document.activeElement === panelAction || document.activeElement === document.body) {
      mute.focus({ preventScroll: true });
    }
  }

  async #sendTyped(): Promise<void> {
    const { message } = this.elements;
    const words = message.value.trim();
    if (words === "" || this.#connection.kind !== "open") {
      return;
    }
    message.value = "";
    if (!this.#started) {
      // Writing is a gesture too: begin without the microphone.
      await this.#start(false);
    }
    this.#typed++;
    this.#captions.update({
      speaker: "visitor",
      segment: `typed-${this.#typed}`,
      text: words,
      final: true,
      startSample: null,
    });
    this.#transport.sendText(words);
    this.#draw();
  }

  #act(action: NoticeAction): void {
    if (action === "retry") {
      this.#transport.connect();
    } else if (action === "microphone") {
      void this.#start(true);
    } else if (action === "sound") {
      void this.#transport.unlockSound();
    } else {
      this.#problem = null;
    }
    this.#draw();
  }

  #report(problem: Problem): void {
    this.#problem = problem;
    window.clearTimeout(this.#problemTimer);
    this.#problemTimer = window.setTimeout(() => {
      this.#problem = null;
    }, PROBLEM_SHOWN_MS);
    this.#draw();
  }

  #toggleDebug(): void {
    const shown = this.elements.debug.hidden !== false;
    localStorage.setItem(DEBUG_KEY, shown ? "1" : "0");
    this.#showDebug(shown);
  }

  #showDebug(shown: boolean): void {
    this.elements.debug.hidden = !shown;
    this.elements.details.ariaExpanded = String(shown);
  }

  #draw(): void {
    const page = this.elements;
    const open = this.#connection.kind === "open";
    this.#noticeView.drawNotices(
      notices({
        connection: this.#connection,
        microphone: this.#microphone,
        started: this.#started,
        soundBlocked: this.#soundBlocked,
        agentMissing: this.#agentMissing,
        problem: this.#problem,
        retryInSeconds: Math.max(0, Math.ceil((this.#retryAt - performance.now()) / 1000)),
      }),
    );
    this.#noticeView.drawPanel(panel(this.#connection, this.#started, this.#live));
    this.#captionView.draw(this.#transport.heardSample());
    set(page.app, "state", this.#state);
    set(page.app, "phase", this.#live ? "live" : this.#connection.kind);
    setText(page.state, text.states[this.#state]);
    page.send.disabled = !open;
    page.message.disabled = this.#connection.kind === "busy" || this.#connection.kind === "refused";
    page.stop.disabled = !open || !this.#live || this.#state === "listening" || this.#state === "idle";
    page.end.disabled = !this.#live;
    this.#drawMute();
    if (!page.debug.hidden) {
      drawDebug(page.figures, this.#latency, this.#transport.figures(), this.#serverFigures);
    }
  }

  #drawMute(): void {
    const { mute, muteLabel } = this.elements;
    const hears = this.#microphone === "on";
    const muted = hears && this.#mute.on;
    mute.disabled = !this.#live;
    mute.ariaPressed = String(muted);
    set(mute, "off", String(muted || (this.#live && !hears)));
    setText(muteLabel, this.#live && !hears ? text.noMicrophone : muted ? text.unmute : text.mute);
    mute.title = !hears ? text.noMicrophoneHint : muted ? text.unmuteHint : text.muteHint;
  }
}

function set(element: HTMLElement, name: string, value: string): void {
  if (element.dataset[name] !== value) {
    element.dataset[name] = value;
  }
}

function setText(element: HTMLElement, content: string): void {
  if (element.textContent !== content) {
    element.textContent = content;
  }
}
