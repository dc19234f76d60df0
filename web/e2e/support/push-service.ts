/**
 * A push service of our own: browsers' are on the Internet. What a page sees of it (`PushManager`) is put in its place;
 * the application's side, encryption included, is the real one, and so is the service worker, to which Chromium's
 * debugging protocol hands what has come.
 */

import { createDecipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import type { BrowserContext, Page } from "playwright-core";

export interface Push {
  /** The key that the sender says it signs with (base64url). */
  readonly senderKey: string;
  /** Decrypted. */
  readonly text: string;
}

/** The one browser that gets its pushes here. */
export class PushService {
  readonly pushes: Push[] = [];
  readonly #keys = createECDH("prime256v1");
  readonly #secret = randomBytes(16);
  readonly #server: Server;

  private constructor() {
    this.#keys.generateKeys();
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const senderKey = /k=([\w-]+)/.exec(request.headers.authorization ?? "")?.[1] ?? "";
        this.pushes.push({ senderKey, text: this.#decrypt(Buffer.concat(chunks)) });
        response.writeHead(201).end();
      });
    });
  }

  static async start(): Promise<PushService> {
    const service = new PushService();
    await new Promise<void>((resolve) => service.#server.listen(0, "127.0.0.1", resolve));
    return service;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Have the pages of this context subscribe here; `window.pushKey` is the key they subscribed with (base64url). */
  async serve(context: BrowserContext): Promise<void> {
    const { port } = this.#server.address() as AddressInfo;
    const described = {
      endpoint: `http://127.0.0.1:${port}/push/${randomBytes(8).toString("hex")}`,
      keys: { p256dh: this.#keys.getPublicKey("base64url"), auth: this.#secret.toString("base64url") },
    };
    await context.addInitScript(subscribeElsewhere, described);
  }

  /** RFC 8291 with a single record, as the application sends it. */
  #decrypt(body: Buffer): string {
    const salt = body.subarray(0, 16);
    const keyEnd = 21 + body.readUInt8(20);
    const senderKey = body.subarray(21, keyEnd);
    const info = Buffer.concat([Buffer.from("WebPush: info\0"), this.#keys.getPublicKey(), senderKey]);
    const shared = Buffer.from(hkdfSync("sha256", this.#keys.computeSecret(senderKey), this.#secret, info, 32));
    const derive = (name: string, bytes: number): Buffer =>
      Buffer.from(hkdfSync("sha256", shared, salt, Buffer.from(`Content-Encoding: ${name}\0`), bytes));
    const decipher = createDecipheriv("aes-128-gcm", derive("aes128gcm", 16), derive("nonce", 12));
    decipher.setAuthTag(body.subarray(-16));
    const padded = Buffer.concat([decipher.update(body.subarray(keyEnd, -16)), decipher.final()]);
    return padded.subarray(0, padded.lastIndexOf(2)).toString();
  }
}

interface Described {
  readonly endpoint: string;
  readonly keys: { readonly p256dh: string; readonly auth: string };
}

/** In the page, before its own scripts. */
function subscribeElsewhere(described: Described): void {
  const MARK = "test.push";
  const subscription = {
    endpoint: described.endpoint,
    toJSON: () => described,
    unsubscribe: () => {
      localStorage.removeItem(MARK);
      return Promise.resolve(true);
    },
  } as unknown as PushSubscription;
  PushManager.prototype.subscribe = (options) => {
    const key = new Uint8Array(options?.applicationServerKey as Uint8Array<ArrayBuffer>);
    window.pushKey = btoa(String.fromCharCode(...key)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
    localStorage.setItem(MARK, "1");
    return Promise.resolve(subscription);
  };
  PushManager.prototype.getSubscription = () => Promise.resolve(localStorage.getItem(MARK) ? subscription : null);
}

/** Hand a push to the service worker of the page's origin, as the browser does when its push service has one. */
export async function deliver(page: Page, { text }: Push): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const found = new Promise<string>((resolve) => {
    session.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      const [registration] = registrations.filter(({ isDeleted }) => !isDeleted);
      if (registration) resolve(registration.registrationId);
    });
  });
  await session.send("ServiceWorker.enable");
  const origin = new URL(page.url()).origin;
  await session.send("ServiceWorker.deliverPushMessage", { origin, registrationId: await found, data: text });
  await session.detach();
}
