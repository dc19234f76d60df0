/** What the app and our tests put on `window`. */

interface EchoChannel {
  listen(event: string, heard: (data: unknown) => void): EchoChannel;
  subscribed(done: () => void): EchoChannel;
}

interface Window {
  readonly Echo: { channel(name: string): EchoChannel; private(name: string): EchoChannel };
  /** What a test's own listener wrote down. */
  heard: string[];
  /** The key that the page subscribed to Web Push with (base64url), where our own push service stands in. */
  pushKey: string;
}
