/** Entry: chooses the transport and starts the page. */
import { App } from "./app";
import { KioskTransport } from "./transport/kiosk";
import type { Transport } from "./transport/transport";
import { type PageElements, pageElements } from "./ui/elements";

const TOKEN_KEY = "visavis.token";

/** The link's token, kept for this tab and taken out of the address bar. */
function takeToken(parameters: URLSearchParams): string {
  const token = parameters.get("token");
  if (token !== null) {
    sessionStorage.setItem(TOKEN_KEY, token);
    parameters.delete("token");
    const query = parameters.size > 0 ? `?${parameters}` : "";
    history.replaceState(null, "", `${location.pathname}${query}`);
  }
  return sessionStorage.getItem(TOKEN_KEY) ?? "";
}

async function chooseTransport(elements: PageElements): Promise<Transport> {
  const parameters = new URLSearchParams(location.search);
  const token = takeToken(parameters);
  if (parameters.get("transport") === "room") {
    const { RoomTransport } = await import("./transport/room");
    return new RoomTransport({
      video: elements.video,
      tokenUrl: new URL("token", location.href).href,
      token,
    });
  }
  const url = new URL("ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  return new KioskTransport({ canvas: elements.canvas, url: url.href, token, storage: sessionStorage });
}

/** The still before the first frame; without one the silhouette stays. */
function showPoster({ poster }: PageElements): void {
  poster.hidden = true;
  poster.addEventListener("load", () => {
    poster.hidden = false;
  });
  poster.src = new URL("poster.jpg", location.href).href;
}

const elements = pageElements();
showPoster(elements);
new App(elements, await chooseTransport(elements));
