/** Calls of the REST API. Each mutating call carries an idempotency key, so that a retry cannot do it twice. */

import type { Analytics } from "@/features/analytics";
import { readJson } from "@/system/problems";
import { randomKey } from "@/system/random";
import { realtime } from "@/system/realtime";
import type { Account, Job, JobStatus, NewJob, Notification, Page, StatementLine, Transaction, Wallet } from "@/system/types";

type Query = Readonly<Record<string, string | number | undefined | null>>;

async function get<T>(path: string, query: Query = {}): Promise<T> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return readJson<T>(await realtime().fetch(text ? `${path}?${text}` : path));
}

interface SendOptions {
  readonly method?: "POST" | "PATCH";
  readonly toOthers?: boolean;
}

async function send<T>(path: string, body: unknown = {}, { method = "POST", toOthers = false }: SendOptions = {}): Promise<T> {
  const answer = await realtime().fetch(path, {
    method,
    headers: { "Content-Type": "application/json", "Idempotency-Key": randomKey() },
    body: JSON.stringify(body),
    toOthers,
  });
  return readJson<T>(answer);
}

export interface JobFilters {
  readonly q?: string;
  readonly skill?: string;
  readonly minBudget?: number | undefined;
  readonly maxBudget?: number | undefined;
}

export const api = {
  me: () => get<Account>("/api/auth/me"),
  updateMe: (changes: Partial<Pick<Account, "name" | "skills" | "jobAlerts">>) =>
    send<Account>("/api/auth/me", changes, { method: "PATCH" }),
  activeJobs: (filters: JobFilters, cursor?: string | null) =>
    get<Page<Job>>("/api/jobs", { status: "active", limit: 20, cursor, ...filters }),
  myJobs: (cursor?: string | null) => get<Page<Job>>("/api/jobs/mine", { limit: 50, cursor }),
  job: (id: number) => get<Job>(`/api/jobs/${id}`),
  // The poster has the job from the answer; the event is for the others.
  postJob: (job: NewJob) => send<Job>("/api/jobs", job, { toOthers: true }),
  claim: (id: number) => send<Job>(`/api/jobs/${id}/claim`),
  setStatus: (id: number, status: JobStatus, deliverables?: readonly string[]) =>
    send<Job>(`/api/jobs/${id}/status`, { status, ...(deliverables && { deliverables }) }),
  wallet: () => get<Wallet>("/api/wallet"),
  statement: (cursor?: string | null) => get<Page<StatementLine>>("/api/wallet/statement", { limit: 50, cursor }),
  transactions: (query: { status?: string; jobId?: number; scope?: "own" | "all"; cursor?: string | null } = {}) =>
    get<Page<Transaction>>("/api/wallet/transactions", { limit: 50, ...query }),
  deposit: (amount: number) => send<Transaction>("/api/wallet/deposits", { amount }),
  withdraw: (amount: number) => send<Transaction>("/api/wallet/withdrawals", { amount }),
  confirm: (id: number) => send<Transaction>(`/api/wallet/transactions/${id}/confirm`),
  reject: (id: number) => send<Transaction>(`/api/wallet/transactions/${id}/reject`),
  notifications: (cursor?: string | null) => get<Page<Notification>>("/api/notifications", { limit: 50, cursor }),
  markRead: (id: number) => send<Notification>(`/api/notifications/${id}/read`),
  analytics: () => get<Analytics>("/api/analytics/realtime"),
};
