/** Draws banners and the card over the picture. */
import { make, type PageElements } from "./elements";
import type { Notice, NoticeAction, Panel } from "./notices";

export class NoticeView {
  #drawnNotices = "";
  #drawnPanel = "";

  constructor(
    private readonly elements: PageElements,
    private readonly act: (action: NoticeAction) => void,
  ) {}

  drawNotices(notices: readonly Notice[]): void {
    const fingerprint = JSON.stringify(notices);
    if (fingerprint === this.#drawnNotices) {
      return;
    }
    this.#drawnNotices = fingerprint;
    const focused = document.activeElement?.id;
    this.elements.notices.replaceChildren(...notices.map((notice) => this.#banner(notice)));
    if (focused?.startsWith("notice-")) {
      document.getElementById(focused)?.focus();
    }
  }

  drawPanel(panel: Panel | null): void {
    const fingerprint = JSON.stringify(panel);
    if (fingerprint === this.#drawnPanel) {
      return;
    }
    this.#drawnPanel = fingerprint;
    const { panel: card, panelTitle, panelMessage, panelHint, panelAction } = this.elements;
    card.hidden = panel === null;
    if (!panel) {
      return;
    }
    card.dataset.panel = panel.id;
    for (const [element, content] of [
      [panelTitle, panel.title],
      [panelMessage, panel.message],
      [panelHint, panel.hint],
      [panelAction, panel.action],
    ] as const) {
      element.textContent = content ?? "";
      element.hidden = content === null;
    }
  }

  #banner(notice: Notice): HTMLElement {
    const banner = make("div", `notice ${notice.tone}`);
    banner.dataset.notice = notice.id;
    if (notice.tone === "error") {
      banner.setAttribute("role", "alert");
    }
    const words = make("p", "", notice.message);
    if (notice.hint) {
      words.append(" ", make("span", "hint", notice.hint));
    }
    banner.append(words);
    const { action } = notice;
    if (action) {
      const button = make("button", "quiet", action.label);
      button.type = "button";
      button.id = `notice-${notice.id}`;
      button.addEventListener("click", () => this.act(action.name));
      banner.append(button);
    }
    return banner;
  }
}
