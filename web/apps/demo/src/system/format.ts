/** Amounts, times and scores for people. */

import type { JobStatus, TransactionType } from "@/system/types";

const money = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const figure = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

export function formatMoney(amount: number): string {
  return money.format(amount);
}

/** With its sign; the minus is as wide as the plus. */
export function formatChange(amount: number): string {
  return `${amount < 0 ? "−" : "+"}${money.format(Math.abs(amount))}`;
}

export function formatTime(iso: string): string {
  return time.format(new Date(iso));
}

/** To the second, without the day. */
export function formatClock(iso: string): string {
  return clock.format(new Date(iso));
}

/** A count or a rate, with one digit behind the point at most. */
export function formatFigure(value: number): string {
  return figure.format(value);
}

const STEPS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
] as const;

export function formatAgo(iso: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1_000);
  for (const [unit, size] of STEPS) if (seconds >= size) return relative.format(-Math.floor(seconds / size), unit);
  return "just now";
}

export function formatDuration(minutes: number): string {
  const hours = Math.floor(minutes / 60);
  const rest = minutes % 60;
  return [hours > 0 && `${hours} h`, (rest > 0 || hours === 0) && `${rest} min`].filter(Boolean).join(" ");
}

/** The viewer's match: what the API gives to freelancers, for jobs that come as events. */
export function matchScore(skills: readonly string[], required: readonly string[]): number {
  if (required.length === 0) return 100;
  const own = new Set(skills.map((skill) => skill.toLowerCase()));
  const met = new Set(required.filter((skill) => own.has(skill.toLowerCase()))).size;
  return Math.round(50 + (50 * met) / new Set(required).size);
}

export const STATUS: Readonly<Record<JobStatus, { readonly label: string; readonly color: string }>> = {
  active: { label: "Active", color: "teal" },
  claimed: { label: "Claimed", color: "indigo" },
  in_progress: { label: "In progress", color: "blue" },
  submitted: { label: "Submitted", color: "grape" },
  completed: { label: "Completed", color: "green" },
  cancelled: { label: "Cancelled", color: "gray" },
};

export const TRANSACTION: Readonly<Record<TransactionType, { readonly label: string; readonly sign: 1 | -1 | 0 }>> = {
  deposit: { label: "Deposit", sign: 1 },
  withdrawal: { label: "Withdrawal", sign: -1 },
  hold: { label: "Held for a job", sign: 0 },
  release: { label: "Hold released", sign: 0 },
  job_payment: { label: "Job payment", sign: -1 },
  job_earning: { label: "Job earning", sign: 1 },
  platform_fee: { label: "Platform fee", sign: -1 },
  adjustment: { label: "Adjustment", sign: 1 },
};
