/** What the browser says of the page and of the network. Without a browser: always seen, always online. */

export interface PageObserver {
  /** The browser found a network, or lost it. */
  network(): void;
  seen(): void;
  hidden(): void;
}

export function isOnline(): boolean {
  // Node has a navigator from version 21 on, without `onLine`.
  return typeof window === "undefined" || navigator.onLine;
}

/** Tell `observer` what happens from now on, and at once whether the page is seen; returns how to stop. */
export function observePage(observer: PageObserver): () => void {
  if (typeof window === "undefined") return () => undefined;
  const network = (): void => {
    observer.network();
  };
  const visibility = (): void => {
    if (document.hidden) observer.hidden();
    else observer.seen();
  };
  window.addEventListener("online", network);
  window.addEventListener("offline", network);
  document.addEventListener("visibilitychange", visibility);
  visibility();
  return () => {
    window.removeEventListener("online", network);
    window.removeEventListener("offline", network);
    document.removeEventListener("visibilitychange", visibility);
  };
}
