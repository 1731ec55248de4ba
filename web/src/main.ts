/** Entry: chooses the transport and starts the page. */
import { App } from "./app";
import { KioskTransport } from "./transport/kiosk";
import type { Transport } from "./transport/transport";
import { type PageElements, pageElements } from "./ui/elements";

/** The link's secret, kept for this tab and taken out of the address bar. */
function takeSecret(parameters: URLSearchParams, name: string): string {
  const key = `visavis.${name}`;
  const secret = parameters.get(name);
  if (secret !== null) {
    sessionStorage.setItem(key, secret);
    parameters.delete(name);
    const query = parameters.size > 0 ? `?${parameters}` : "";
    history.replaceState(null, "", `${location.pathname}${query}`);
  }
  return sessionStorage.getItem(key) ?? "";
}

async function chooseTransport(elements: PageElements): Promise<Transport> {
  const parameters = new URLSearchParams(location.search);
  if (parameters.get("transport") === "room") {
    const tokenUrl = new URL("token", location.href);
    tokenUrl.search = String(new URLSearchParams({ key: takeSecret(parameters, "key") }));
    const { RoomTransport } = await import("./transport/room");
    return new RoomTransport({ video: elements.video, tokenUrl: tokenUrl.href });
  }
  const url = new URL("ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  return new KioskTransport({
    canvas: elements.canvas,
    url: url.href,
    token: takeSecret(parameters, "token"),
    storage: sessionStorage,
  });
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
