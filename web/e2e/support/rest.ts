/** The REST API as a program uses it: for what happens while nobody looks. */

import { inject } from "vitest";

import type { Role } from "./browser.js";

interface Login {
  readonly accessToken: string;
  readonly user: { readonly id: number };
}

export class RestClient {
  readonly userId: number;
  readonly #role: Role;
  #token: string;

  private constructor(role: Role, { accessToken, user }: Login) {
    this.#role = role;
    this.#token = accessToken;
    this.userId = user.id;
  }

  static async logIn(role: Role): Promise<RestClient> {
    return new RestClient(role, await login(role));
  }

  async postJob(title: string, requiredSkills: readonly string[] = ["react"]): Promise<number> {
    const body = { title, description: "", budgetMin: 10, budgetMax: 20, requiredSkills, estimatedDuration: 30 };
    return (await this.call<{ readonly id: number }>("/api/jobs", body)).id;
  }

  async call<T>(path: string, body: unknown = {}): Promise<T> {
    return (await this.#post(path, body)) as T;
  }

  async #post(path: string, body: unknown): Promise<unknown> {
    const send = (): Promise<Response> =>
      fetch(new URL(path, inject("stack").baseUrl), {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.#token}` },
        body: JSON.stringify(body),
      });
    let answer = await send();
    if (answer.status === 401) {
      this.#token = (await login(this.#role)).accessToken;
      answer = await send();
    }
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
    return answer.json();
  }
}

async function login(role: Role): Promise<Login> {
  const answer = await fetch(new URL("/api/auth/login", inject("stack").baseUrl), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email: `${role}@sharedjox.test`, password: "password" }),
  });
  if (!answer.ok) throw new Error(`log-in as ${role} answered ${answer.status}`);
  return (await answer.json()) as Login;
}
