/**
 * A small Pusher server for tests: real WebSockets, channel history with epoch and offset, recovery, presence, client
 * events, and the application's auth endpoint. Faults are asked for by name.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { WebSocketServer, type WebSocket } from "ws";

export interface ReceivedSubscribe {
  readonly channel: string;
  readonly auth: string;
  readonly recover?: { readonly epoch: string; readonly offset: number };
}

export interface ReceivedAuth {
  readonly authorization: string | undefined;
  readonly body: URLSearchParams;
}

interface Peer {
  readonly socketId: string;
  readonly socket: WebSocket;
  readonly channels: Set<string>;
}

interface History {
  epoch: string;
  readonly events: { readonly offset: number; readonly frame: string }[];
  next: number;
}

type AuthAnswer = (request: ReceivedAuth) => { readonly status: number; readonly body?: unknown; readonly delayMs?: number };

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "authorization, content-type, x-socket-id",
} as const;

let counter = 0;

export class GatewayDouble {
  readonly subscribes: ReceivedSubscribe[] = [];
  readonly auths: ReceivedAuth[] = [];
  readonly unsubscribes: string[] = [];
  readonly clientEvents: { readonly event: string; readonly channel: string; readonly data: unknown }[] = [];
  /** Connections opened so far. */
  opened = 0;
  /** `pusher:ping`s received so far. */
  pings = 0;
  /** On: what arrives is not answered, and new connections are not greeted, as when the network has gone. */
  isSilent = false;
  /** Off: answers like a stock server, without positions. */
  keepsPositions = true;
  answerAuth: AuthAnswer = ({ body }) => ({ status: 200, body: signature(body) });
  /** Answer subscriptions of these channels with this error. */
  readonly refusals = new Map<string, Readonly<Record<string, unknown>>>();
  readonly #peers = new Set<Peer>();
  readonly #histories = new Map<string, History>();
  #server: Server | undefined;
  #sockets: WebSocketServer | undefined;
  #port = 0;

  static async start(): Promise<GatewayDouble> {
    const gateway = new GatewayDouble();
    await gateway.listen();
    return gateway;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#port}`;
  }

  get authEndpoint(): string {
    return `http://127.0.0.1:${this.#port}/broadcasting/auth`;
  }

  get peers(): number {
    return this.#peers.size;
  }

  /** Listen, on the port of the last time if there was one. */
  async listen(): Promise<void> {
    const server = createServer((request, response) => void this.#http(request, response));
    this.#server = server;
    this.#sockets = new WebSocketServer({ server });
    this.#sockets.on("connection", (socket) => {
      this.#accept(socket);
    });
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Cut everything and stop listening. */
  async stop(): Promise<void> {
    for (const peer of this.#peers) peer.socket.terminate();
    this.#peers.clear();
    this.#sockets?.close();
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  /** Close every connection with a code, or cut it without one. */
  drop(code?: number, reason = ""): void {
    for (const peer of this.#peers) {
      if (code === undefined) peer.socket.terminate();
      else peer.socket.close(code, reason);
    }
    this.#peers.clear();
  }

  /** Publish a durable event. */
  publish(channel: string, event: string, data: unknown, { id = `e${(counter += 1)}`, except = "" } = {}): void {
    const history = this.#history(channel);
    const offset = history.next++;
    const frame = JSON.stringify({
      event,
      data: JSON.stringify(data),
      channel,
      ...(this.keepsPositions && { id, epoch: history.epoch, offset }),
    });
    history.events.push({ offset, frame });
    for (const peer of this.#peers) {
      if (peer.channels.has(channel) && peer.socketId !== except) peer.socket.send(frame);
    }
  }

  /** Send a frame as it is to all subscribers of its channel. */
  send(frame: Readonly<Record<string, unknown>>): void {
    for (const peer of this.#peers) {
      if (peer.channels.has(String(frame.channel))) peer.socket.send(JSON.stringify(frame));
    }
  }

  /** Lose the history of a channel, as an eviction or a new Redis would. */
  forget(channel: string, epoch = `epoch-${(counter += 1)}`): void {
    this.#histories.set(channel, { epoch, events: [], next: 1 });
  }

  #history(channel: string): History {
    const known = this.#histories.get(channel);
    if (known) return known;
    const created: History = { epoch: "epoch-0", events: [], next: 1 };
    this.#histories.set(channel, created);
    return created;
  }

  #accept(socket: WebSocket): void {
    this.opened += 1;
    const peer: Peer = { socketId: `${this.opened}.${7 * this.opened}`, socket, channels: new Set() };
    this.#peers.add(peer);
    socket.on("close", () => this.#peers.delete(peer));
    socket.on("message", (raw) => {
      this.#receive(peer, JSON.parse((raw as Buffer).toString()) as { event: string; channel?: string; data: Record<string, unknown> });
    });
    if (this.isSilent) return;
    const data = JSON.stringify({ socket_id: peer.socketId, activity_timeout: 120 });
    socket.send(JSON.stringify({ event: "pusher:connection_established", data }));
  }

  #receive(peer: Peer, { event, channel, data }: { event: string; channel?: string; data: Record<string, unknown> }): void {
    if (event === "pusher:ping") this.pings += 1;
    if (this.isSilent) return;
    if (event === "pusher:ping") peer.socket.send(JSON.stringify({ event: "pusher:pong", data: {} }));
    if (event === "pusher:subscribe") this.#subscribe(peer, data as unknown as ReceivedSubscribe);
    if (event === "pusher:unsubscribe") {
      this.unsubscribes.push(String(data.channel));
      peer.channels.delete(String(data.channel));
    }
    if (event.startsWith("client-") && channel !== undefined) this.#passOn(peer, { event, channel, data });
  }

  #passOn(from: Peer, message: { readonly event: string; readonly channel: string; readonly data: unknown }): void {
    this.clientEvents.push(message);
    for (const peer of this.#peers) {
      if (peer !== from && peer.channels.has(message.channel)) peer.socket.send(JSON.stringify(message));
    }
  }

  #subscribe(peer: Peer, request: ReceivedSubscribe): void {
    this.subscribes.push(request);
    const refusal = this.refusals.get(request.channel);
    if (refusal) {
      peer.socket.send(JSON.stringify({ event: "pusher:subscription_error", channel: request.channel, data: refusal }));
      return;
    }
    peer.channels.add(request.channel);
    const { answer, replay } = this.#recover(request);
    const presence = request.channel.startsWith("presence-")
      ? { presence: { ids: ["7"], hash: { "7": { name: "Ada" } }, count: 1 } }
      : {};
    peer.socket.send(
      JSON.stringify({
        event: "pusher_internal:subscription_succeeded",
        channel: request.channel,
        data: JSON.stringify({ ...presence, ...answer }),
      }),
    );
    for (const frame of replay) peer.socket.send(frame);
  }

  #recover({ channel, recover }: ReceivedSubscribe): { answer: object; replay: readonly string[] } {
    if (!this.keepsPositions) return { answer: {}, replay: [] };
    const history = this.#history(channel);
    const head = { epoch: history.epoch, offset: history.next - 1 };
    if (!recover) return { answer: { position: head }, replay: [] };
    if (recover.epoch !== history.epoch) return { answer: { position: head, recovered: false }, replay: [] };
    const missed = history.events.filter(({ offset }) => offset > recover.offset);
    return {
      answer: { position: recover, recovered: true, replayed: missed.length },
      replay: missed.map(({ frame }) => frame),
    };
  }

  async #http(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "OPTIONS") {
      response.writeHead(204, CORS).end();
      return;
    }
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const received = { authorization: request.headers.authorization, body: new URLSearchParams(text) };
    this.auths.push(received);
    const { status, body, delayMs = 0 } = this.answerAuth(received);
    setTimeout(() => {
      response.writeHead(status, { ...CORS, "Content-Type": "application/json" }).end(JSON.stringify(body ?? {}));
    }, delayMs);
  }
}

/** A signature that names what it was asked for, so that a test can see which socket it was made for. */
export function signature(body: URLSearchParams): Readonly<Record<string, string>> {
  const channel = body.get("channel_name") ?? "";
  return {
    auth: `key:${body.get("socket_id")}:${channel}`,
    ...(channel.startsWith("presence-") && { channel_data: JSON.stringify({ user_id: 7, user_info: { name: "Ada" } }) }),
  };
}
