/** A key that nobody else has: 128 random bits. Not `crypto.randomUUID`, which pages without TLS do not have. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("-");
}
