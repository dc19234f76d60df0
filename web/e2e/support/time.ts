/** Deadlines are multiples of one unit, which a slow machine raises by TEST_TIME_UNIT. */
const UNIT = Number(process.env.TEST_TIME_UNIT ?? 1);

/** Milliseconds to wait at most. */
export function within(seconds: number): number {
  return seconds * 1_000 * UNIT;
}
