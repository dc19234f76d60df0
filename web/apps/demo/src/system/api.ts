/** Calls of the REST API. Each mutating call carries an idempotency key, so that a retry cannot do it twice. */

import type { Analytics } from "@/features/analytics";
import { readJson } from "@/system/problems";
import { randomKey } from "@/system/random";
import { realtime } from "@/system/realtime";
import type { Job, JobStatus, NewJob, Notification, Page, Transaction, Wallet } from "@/system/types";

type Query = Readonly<Record<string, string | number | undefined | null>>;

async function get<T>(path: string, query: Query = {}): Promise<T> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return readJson<T>(await realtime().fetch(text ? `${path}?${text}` : path));
}

async function post<T>(path: string, body: unknown = {}, { toOthers = false } = {}): Promise<T> {
  const answer = await realtime().fetch(path, {
    method: "POST",
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
  activeJobs: (filters: JobFilters, cursor?: string | null) =>
    get<Page<Job>>("/api/jobs", { status: "active", limit: 20, cursor, ...filters }),
  myJobs: (cursor?: string | null) => get<Page<Job>>("/api/jobs/mine", { limit: 50, cursor }),
  job: (id: number) => get<Job>(`/api/jobs/${id}`),
  // The poster has the job from the answer; the event is for the others.
  postJob: (job: NewJob) => post<Job>("/api/jobs", job, { toOthers: true }),
  claim: (id: number) => post<Job>(`/api/jobs/${id}/claim`),
  setStatus: (id: number, status: JobStatus, deliverables?: readonly string[]) =>
    post<Job>(`/api/jobs/${id}/status`, { status, ...(deliverables && { deliverables }) }),
  wallet: () => get<Wallet>("/api/wallet"),
  transactions: (query: { status?: string; jobId?: number; scope?: "own" | "all"; cursor?: string | null } = {}) =>
    get<Page<Transaction>>("/api/wallet/transactions", { limit: 50, ...query }),
  deposit: (amount: number) => post<Transaction>("/api/wallet/deposits", { amount }),
  withdraw: (amount: number) => post<Transaction>("/api/wallet/withdrawals", { amount }),
  confirm: (id: number) => post<Transaction>(`/api/wallet/transactions/${id}/confirm`),
  reject: (id: number) => post<Transaction>(`/api/wallet/transactions/${id}/reject`),
  notifications: (cursor?: string | null) => get<Page<Notification>>("/api/notifications", { limit: 50, cursor }),
  markRead: (id: number) => post<Notification>(`/api/notifications/${id}/read`),
  analytics: () => get<Analytics>("/api/analytics/realtime"),
};
