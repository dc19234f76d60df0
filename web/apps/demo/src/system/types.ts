/** Shapes of the REST API, as docs and OpenAPI describe them. */

import type { JobUpdated, WalletUpdated } from "@sharedjox/realtime";

export type Role = "client" | "freelancer" | "operator";
export type JobStatus = JobUpdated["status"];
export type TransactionType = WalletUpdated["transactionType"];

export interface User {
  readonly id: number;
  readonly name: string;
  readonly email: string;
  readonly role: Role;
  readonly skills?: readonly string[];
}

/** The logged-in user as the API has them now; the session's `User` is as they were at the log-in. */
export interface Account extends User {
  readonly skills: readonly string[];
  readonly jobAlerts: boolean;
}

export interface Session {
  readonly user: User;
  readonly accessToken: string;
  readonly refreshToken: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

export interface Job {
  readonly id: number;
  readonly clientId: number;
  readonly claimedBy: number | null;
  readonly title: string;
  readonly description: string | null;
  readonly budgetMin: number;
  readonly budgetMax: number;
  readonly agreedAmount: number | null;
  readonly status: JobStatus;
  readonly requiredSkills: readonly string[];
  readonly estimatedDuration: number;
  readonly deliverables: readonly string[];
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly claimedAt: string | null;
  readonly matchScore?: number | null;
}

export interface NewJob {
  readonly title: string;
  readonly description: string;
  readonly budgetMin: number;
  readonly budgetMax: number;
  readonly requiredSkills: readonly string[];
  readonly estimatedDuration: number;
}

export interface Wallet {
  readonly userId: number;
  readonly balance: number;
  readonly availableBalance: number;
  readonly heldBalance: number;
}

export interface Transaction {
  readonly id: number;
  readonly type: TransactionType;
  readonly status: "pending" | "confirmed" | "rejected";
  readonly amount: number;
  readonly jobId: number | null;
  readonly userId?: number | null;
  readonly createdAt: string;
  readonly confirmedAt: string | null;
}

/** A movement of the wallet's money and the balances right after it. `change` is signed, 0 when money was held or freed. */
export interface StatementLine {
  readonly id: number;
  readonly type: TransactionType;
  readonly amount: number;
  readonly change: number;
  readonly availableChange: number;
  readonly heldChange: number;
  readonly balance: number;
  readonly availableBalance: number;
  readonly heldBalance: number;
  readonly transactionId: number | null;
  readonly jobId: number | null;
  readonly createdAt: string;
}

export interface Notification {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly body: string;
  readonly jobId: number | null;
  readonly createdAt: string;
  readonly readAt?: string | null;
}
