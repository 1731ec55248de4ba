/** The page's elements, looked up once; a missing one is a mistake in index.html. */
function find<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) {
    throw new Error(`index.html has no ${type.name} #${id}`);
  }
  return element;
}

export function pageElements() {
  return {
    app: find("app", HTMLElement),
    skip: find("skip", HTMLAnchorElement),
    title: find("title", HTMLHeadingElement),
    disclosure: find("disclosure", HTMLSpanElement),
    notices: find("notices", HTMLDivElement),
    poster: find("poster", HTMLImageElement),
    canvas: find("avatar", HTMLCanvasElement),
    video: find("avatar-video", HTMLVideoElement),
    state: find("state", HTMLSpanElement),
    panel: find("panel", HTMLDivElement),
    panelTitle: find("panel-title", HTMLHeadingElement),
    panelMessage: find("panel-message", HTMLParagraphElement),
    panelHint: find("panel-hint", HTMLParagraphElement),
    panelAction: find("panel-action", HTMLButtonElement),
    controls: find("controls", HTMLDivElement),
    mute: find("mute", HTMLButtonElement),
    muteLabel: find("mute-label", HTMLSpanElement),
    stop: find("stop", HTMLButtonElement),
    stopLabel: find("stop-label", HTMLSpanElement),
    end: find("end", HTMLButtonElement),
    endLabel: find("end-label", HTMLSpanElement),
    talk: find("talk", HTMLElement),
    log: find("log", HTMLDivElement),
    empty: find("empty", HTMLDivElement),
    emptyTitle: find("empty-title", HTMLParagraphElement),
    emptyHint: find("empty-hint", HTMLParagraphElement),
    captions: find("captions", HTMLOListElement),
    announcer: find("announcer", HTMLDivElement),
    form: find("form", HTMLFormElement),
    message: find("message", HTMLInputElement),
    messageLabel: find("message-label", HTMLLabelElement),
    send: find("send", HTMLButtonElement),
    sendLabel: find("send-label", HTMLSpanElement),
    details: find("details", HTMLButtonElement),
    debug: find("debug", HTMLElement),
    motion: find("motion", HTMLFormElement),
    figures: find("figures", HTMLDivElement),
  };
}

export type PageElements = ReturnType<typeof pageElements>;

/** Makes an element with a class and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  content = "",
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) {
    element.className = className;
  }
  element.textContent = content;
  return element;
}
