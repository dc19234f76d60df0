/** What the app puts on `window`, as far as tests use it. */

interface EchoChannel {
  listen(event: string, heard: (data: unknown) => void): EchoChannel;
  subscribed(done: () => void): EchoChannel;
}

interface Window {
  readonly Echo: { channel(name: string): EchoChannel; private(name: string): EchoChannel };
}
