/**
 * Reading raw Pusher frames.
 *
 * pusher-js keeps `event`, `channel`, `data` and `user_id` of a frame and drops the rest, so the members that make
 * delivery checkable (`id`, `epoch`, `offset`) have to be read from the raw text.
 */

import type { EventMeta, Position } from "../generated/events.js";

/** One received frame; `data` is parsed when it was JSON in a string, as Pusher sends it. */
export interface Frame {
  readonly event: string;
  readonly channel?: string;
  readonly data: unknown;
  readonly userId?: string;
  /** Present on durable events only. */
  readonly meta?: EventMeta;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** A position out of parsed JSON; undefined for everything that is not one. */
export function readPosition(value: unknown): Position | undefined {
  if (!isRecord(value)) return undefined;
  const { epoch, offset } = value;
  return typeof epoch === "string" && Number.isSafeInteger(offset)
    ? { epoch, offset: offset as number }
    : undefined;
}

/** Parse one message of the transport; undefined when it is not a frame (pusher-js reports those itself). */
export function parseFrame(text: unknown): Frame | undefined {
  if (typeof text !== "string") return undefined;
  const raw = parseJson(text);
  if (!isRecord(raw) || typeof raw.event !== "string") return undefined;
  const position = readPosition(raw);
  return {
    event: raw.event,
    data: typeof raw.data === "string" ? parseJson(raw.data) : raw.data,
    ...(typeof raw.channel === "string" && { channel: raw.channel }),
    ...(typeof raw.user_id === "string" && { userId: raw.user_id }),
    ...(position && typeof raw.id === "string" && { meta: { id: raw.id, ...position } }),
  };
}

/** Parsed JSON, or the text itself when it is not JSON (a publisher may send plain text). */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
