/** Answers of the API: JSON, or a problem document (RFC 9457). */

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

interface Problem {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
}

export async function readJson<T>(answer: Response): Promise<T> {
  if (!answer.ok) throw await toError(answer);
  const text = await answer.text();
  return (text === "" ? null : JSON.parse(text)) as T;
}

async function toError(answer: Response): Promise<ApiError> {
  const problem = (await answer.json().catch(() => ({}))) as Problem;
  const text = problem.detail ?? problem.title ?? `The server answered ${answer.status}.`;
  return new ApiError(answer.status, problem.code ?? "unknown", text);
}

/** What to show to a person. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether a later attempt may succeed: the network, or a server that is away or busy. */
export function isPassing(error: unknown): boolean {
  return !(error instanceof ApiError) || error.status >= 500 || error.status === 429;
}
