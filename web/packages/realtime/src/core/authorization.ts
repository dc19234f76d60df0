/**
 * Asking the application for signatures, each time with the token of that moment.
 *
 * pusher-js's own way fixes the headers when the client is built and gives up at the first failure. This one asks the
 * token source every time, refreshes once on 401 (one refresh for all who ask at the same time), tries again when the
 * application is away, and drops an answer that comes too late: signed for a socket that no longer exists, it would
 * only earn a refusal on the new one.
 */

import { isRecord } from "./frames.js";

/** Where bearer tokens come from. */
export interface TokenSource {
  /** The token to send now; null when nobody is logged in. */
  get(): string | null | Promise<string | null>;
  /** Get a new token after a 401; null when the session is over. Reject when it may only be over for now. */
  refresh?(): Promise<string | null>;
}

/** Why a channel could not be joined, or was taken away. */
export interface ChannelError {
  readonly type: string;
  readonly message: string;
  readonly status?: number;
}

export class AuthorizationError extends Error {
  override readonly name = "AuthorizationError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface Signature {
  readonly auth: string;
  readonly channel_data?: string;
  readonly shared_secret?: string;
  readonly user_data?: string;
}

/** Tokens with single-flight refresh. */
export class Tokens {
  readonly #source: TokenSource | undefined;
  #refreshing: Promise<string | null> | undefined;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
  }

  /**
   * `fetch` with the bearer token of this moment; after a 401 once more with a refreshed one.
   *
   * Rejects as `fetch` does, and when the refresh does: then the 401 says nothing about the session.
   */
  async fetch(input: string | URL, init: RequestInit): Promise<Response> {
    const token = (await this.#source?.get()) ?? null;
    const answer = await fetch(input, withBearer(init, token));
    if (answer.status !== 401 || token === null) return answer;
    const renewed = await this.#refresh(token);
    return renewed === null ? answer : fetch(input, withBearer(init, renewed));
  }

  async #refresh(used: string): Promise<string | null> {
    const current = await this.#source?.get();
    if (current && current !== used) return current;
    this.#refreshing ??= (this.#source?.refresh?.() ?? Promise.resolve(null)).finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }
}

function withBearer(init: RequestInit, token: string | null): RequestInit {
  const headers = new Headers(init.headers);
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  return { ...init, headers };
}

export interface SignatureRequest {
  readonly endpoint: string;
  readonly params: Readonly<Record<string, string>>;
  /** Whether the socket that this signature is for is still the current one. */
  isCurrent(): boolean;
}

const ATTEMPTS = 4;
const ATTEMPT_TIMEOUT_MS = 10_000;

/**
 * Ask for one signature. Resolves to undefined when the socket is gone meanwhile.
 *
 * Rejects with AuthorizationError: 401 and 403 at once, 429 and 5xx and network faults (status 0) after four tries.
 */
export async function requestSignature(tokens: Tokens, request: SignatureRequest): Promise<Signature | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await tryOnce(tokens, request);
    if (!request.isCurrent()) return undefined;
    if (!(outcome instanceof AuthorizationError)) return outcome;
    const isPassing = outcome.status === 0 || outcome.status === 429 || outcome.status >= 500;
    if (!isPassing || attempt === ATTEMPTS) throw outcome;
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt * (0.5 + Math.random() / 2)));
    if (!request.isCurrent()) return undefined;
  }
}

async function tryOnce(tokens: Tokens, { endpoint, params }: SignatureRequest): Promise<Signature | AuthorizationError> {
  try {
    const answer = await tokens.fetch(endpoint, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(params),
      signal: AbortSignal.timeout(ATTEMPT_TIMEOUT_MS),
    });
    if (answer.status !== 200) return new AuthorizationError(answer.status, `${endpoint} answered ${answer.status}`);
    const body: unknown = await answer.json();
    return isRecord(body) && typeof body.auth === "string"
      ? (body as unknown as Signature)
      : new AuthorizationError(422, `${endpoint} answered without a signature`);
  } catch (error) {
    return new AuthorizationError(0, `${endpoint}: ${String(error)}`);
  }
}
