// The official `pusher` server library for Node, steered over stdin: one JSON command per line, one JSON answer each.
//
// argv[2]: options of the Pusher constructor. stdin: {"call":"trigger","arguments":[…]}.
// stdout: {"ok":<answer's body>} or {"refused":{"status","body"}} or {"failed":"what the library said"}.

import { createInterface } from 'node:readline';
import Pusher from 'pusher';

const pusher = new Pusher(JSON.parse(process.argv[2]));

const run = async ({ call, arguments: given }) => {
  const answer = await pusher[call](...given);
  if (typeof answer?.text !== 'function') return { ok: answer };
  const text = await answer.text();
  return { ok: text === '' ? null : JSON.parse(text), status: answer.status };
};

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await run(JSON.parse(line)).catch((error) =>
    error.status === undefined
      ? { failed: String(error.message ?? error) }
      : { refused: { status: error.status, body: error.body } },
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
