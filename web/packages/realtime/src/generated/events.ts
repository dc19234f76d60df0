// Generated from libs/contracts by `python -m sharedjox_contracts.schema_export`. Do not edit.

/** A job was posted. On `jobs.discovery`. */
export interface JobPosted {
  readonly job: PostedJob;
  /** Match score; 100 is a full match. */
  readonly matchScore: number;
  /** UTC, ISO 8601 with `Z`. */
  readonly timestamp: string;
}

/** The job as `job.posted` shows it: what a discovery list needs, the rest comes over REST. */
export interface PostedJob {
  /** A positive integer id. */
  readonly id: number;
  /** A positive integer id. */
  readonly clientId: number;
  readonly title: string;
  /** A JSON number with at most two decimals. */
  readonly budgetMin: number;
  /** A JSON number with at most two decimals. */
  readonly budgetMax: number;
  readonly status: "active" | "cancelled" | "claimed" | "completed" | "in_progress" | "submitted";
  readonly requiredSkills: readonly string[];
  /** Minutes. */
  readonly estimatedDuration: number;
  /** UTC, ISO 8601 with `Z`. */
  readonly createdAt: string;
}

/** A freelancer claimed a job. On `private-job.{id}` and `private-user.{clientId}`. */
export interface JobClaimed {
  /** A positive integer id. */
  readonly jobId: number;
  /** A positive integer id. */
  readonly claimedBy: number;
  /** UTC, ISO 8601 with `Z`. */
  readonly claimedAt: string;
  /** Match score; 100 is a full match. */
  readonly matchScore: number;
  /** UTC, ISO 8601 with `Z`. */
  readonly timestamp: string;
}

/** A job changed its status. On `private-job.{id}`. */
export interface JobUpdated {
  /** A positive integer id. */
  readonly jobId: number;
  readonly status: "active" | "cancelled" | "claimed" | "completed" | "in_progress" | "submitted";
  readonly deliverables: readonly string[];
  /** UTC, ISO 8601 with `Z`. */
  readonly updatedAt: string;
  /** UTC, ISO 8601 with `Z`. */
  readonly timestamp: string;
}

/** A wallet's balance or available balance changed. On `private-user.{userId}`. */
export interface WalletUpdated {
  /** A positive integer id. */
  readonly userId: number;
  /** A JSON number with at most two decimals. */
  readonly newBalance: number;
  /** A JSON number with at most two decimals. */
  readonly availableBalance: number;
  readonly transactionType: "adjustment" | "deposit" | "hold" | "job_earning" | "job_payment" | "platform_fee" | "release" | "withdrawal";
  /** A JSON number with at most two decimals. */
  readonly amount: number;
  /** UTC, ISO 8601 with `Z`. */
  readonly timestamp: string;
}

/** A notification was stored. On `private-user.{userId}`. */
export interface NotificationCreated {
  /** A positive integer id. */
  readonly id: number;
  /** A positive integer id. */
  readonly userId: number;
  readonly type: string;
  readonly title: string;
  readonly body: string;
  readonly jobId: number | null;
  /** UTC, ISO 8601 with `Z`. */
  readonly createdAt: string;
  /** UTC, ISO 8601 with `Z`. */
  readonly timestamp: string;
}

/** Event name to payload. */
export interface EventPayloads {
  readonly "job.posted": JobPosted;
  readonly "job.claimed": JobClaimed;
  readonly "job.updated": JobUpdated;
  readonly "wallet.updated": WalletUpdated;
  readonly "notification.created": NotificationCreated;
}

export type EventName = keyof EventPayloads;

export const EVENT_NAMES = [
  "job.posted",
  "job.claimed",
  "job.updated",
  "wallet.updated",
  "notification.created",
] as const satisfies readonly EventName[];

/** Where a subscriber stands in a channel: every later event has the same epoch and a greater offset. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** What a durable event's frame carries beside `event`, `channel` and `data`. */
export interface EventMeta extends Position {
  /** The event's id: the same on every channel and on every repeat. */
  readonly id: string;
}

/** A durable event's frame as it stands on the wire; `data` is JSON in a string. */
export interface EventFrame<Name extends string = EventName> extends EventMeta {
  readonly event: Name;
  readonly channel: string;
  readonly data: string;
}

/** What a client adds to the data of `pusher:subscribe` to be given what it missed. */
export interface RecoverRequest {
  readonly recover: Position;
}

/** What the gateway adds to the data of `pusher_internal:subscription_succeeded`. */
export interface SubscriptionPosition {
  readonly position: Position;
  /** Present when the client asked: true when everything missed was replayed, false when history no longer has it. */
  readonly recovered?: boolean;
  readonly replayed?: number;
}

/** Channel names as they stand on the wire. */
export const wireChannels = {
  discovery: "jobs.discovery",
  operations: "private-ops",
  privateJob: (id: number) => `private-job.${id}` as const,
  presenceJob: (id: number) => `presence-job.${id}` as const,
  privateUser: (id: number) => `private-user.${id}` as const,
} as const;

/** The same for Echo, which adds `private-` and `presence-` itself. */
export const echoChannels = {
  discovery: "jobs.discovery",
  operations: "ops",
  job: (id: number) => `job.${id}` as const,
  user: (id: number) => `user.${id}` as const,
} as const;
