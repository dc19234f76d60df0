/** The whole platform under `sharedjox-devstack up`, on ports of its own, and ways to hurt it. */

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const REPOSITORY = fileURLToPath(new URL("../../../", import.meta.url));
const READY_LINE = "ready after";
/** Seen before the start, or by a service that was to listen there. */
const TAKEN = / is taken by |Address already in use/;

/** Seconds that an access token lives in these tests: short, so that every journey outlives a few. */
const TOKEN_SECONDS = "12";

export interface StackAddress {
  readonly baseUrl: string;
  readonly dataDir: string;
}

export interface RunningStack {
  readonly address: StackAddress;
  readonly stop: () => Promise<void>;
}

/** Other ports are tried when somebody was quicker: between our choice and the stack's start anybody may take one. */
export async function startStack(attempts = 5): Promise<RunningStack> {
  try {
    return await startOn(await freePorts(6));
  } catch (error) {
    if (attempts > 1 && TAKEN.test(String(error))) return startStack(attempts - 1);
    throw error;
  }
}

async function startOn(ports: readonly string[]): Promise<RunningStack> {
  const dataDir = mkdtempSync(join(tmpdir(), "sharedjox-browser-"));
  const [api, gateway, admin, worker, postgres, redis] = ports;
  const child = spawn(join(REPOSITORY, ".venv/bin/sharedjox-devstack"), ["up"], {
    cwd: REPOSITORY,
    env: {
      ...process.env,
      DATA_DIR: dataDir,
      API_PORT: api,
      REVERB_PORT: gateway,
      GATEWAY_ADMIN_PORT: admin,
      WORKER_METRICS_PORT: worker,
      POSTGRES_PORT: postgres,
      REDIS_PORT: redis,
      ACCESS_TOKEN_SECONDS: TOKEN_SECONDS,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const exited = new Promise<number>((resolve) => child.once("exit", (code) => { resolve(code ?? -1); }));
  await new Promise<void>((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-20_000);
      if (output.includes(READY_LINE)) resolve();
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    void exited.then((code) => { reject(new Error(`the stack ended with ${code}:\n${output}`)); });
  });
  return {
    address: { baseUrl: `http://localhost:${api}`, dataDir },
    stop: async () => {
      child.kill("SIGINT");
      await exited;
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export type ServiceName = "api" | "worker" | "gateway-1" | "gateway-2" | "postgres" | "redis";

/** Send a signal to one of the stack's processes; the stack itself starts again what dies. */
export function signalService({ dataDir }: StackAddress, name: ServiceName, signal: NodeJS.Signals): void {
  process.kill(Number(readFileSync(join(dataDir, "run", `${name}.pid`), "utf8")), signal);
}

async function freePorts(count: number): Promise<string[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, "127.0.0.1", () => { resolve(server); }));
    }),
  );
  const ports = servers.map((server) => String((server.address() as AddressInfo).port));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
