"""Breaks every part of a real platform under load, then checks that nothing was lost, doubled, reordered or leaked.

    python -m tests.faults.chaos [--faults 200] [--clients 200] [--seed N] [--pace 0.6]

api, worker, both gateways, Redis and Postgres are killed, frozen and restarted; the connections between them, and those
of half the clients, go through proxies that cut, swallow and slow. The first line of output repeats a run's dice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tests.faults.audience import SETTLE_SECONDS, Audience, Settled, listener
from tests.faults.chaos_load import ChaosLoad
from tests.faults.link import protocol_errors
from tests.faults.parts import Parts, draw
from tests.faults.program import FaultProgram
from tests.faults.recovering_client import RecoveringClient, living
from tests.support.links import Links, running_links
from tests.support.polling import eventually, scaled
from tests.support.stack import Stack, running_stack

MOST_REQUESTS_BETWEEN = 8
SILENCE_SECONDS = 3.0
ENVIRONMENT = {"DRAIN_SECONDS": "0.5", "REDIS_PROBE_SECONDS": "1"}


@dataclass(slots=True)
class Outcome:
    """What a run came to. It is good when `problems` is empty."""

    faults: Counter[str] = field(default_factory=Counter)
    settled: Settled = field(default_factory=Settled)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """All counts by name."""
        return {
            "faults": self.faults.total(),
            "kinds_of_faults": len(self.faults),
            "seconds": self.seconds,
            **self.settled.figures(),
            "problems": len(self.problems),
        }

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.figures().items())


class Chaos:
    """One run over one stack."""

    def __init__(self, stack: Stack, links: Links, *, seed: int, clients: int, pace: float) -> None:
        self._stack = stack
        self._links = links
        self._dice = random.Random(seed)
        self._client_dice = random.Random(f"clients {seed}")
        self._client_count = clients
        self._pace = pace
        self._parts = Parts(stack, links, set())
        self._clients: list[RecoveringClient] = []
        self._outcome = Outcome()
        self._ports = (links.add("clients", stack.ports.gateway), stack.ports.gateway)
        self._api_port = links.add("requests", stack.ports.api)

    async def run(self, faults: int) -> Outcome:
        """Start clients and load, break things, heal, settle, check."""
        started = time.monotonic()
        accounts = await self._stack.log_in("client"), await self._stack.log_in("freelancer")
        load = ChaosLoad(self._api_port, *accounts)
        self._clients = [self._client(number, load) for number in range(self._client_count)]
        async with living(self._clients):
            audience = Audience(self._stack.env["DATABASE_URL"], self._clients)
            await audience.begin()
            supervising = asyncio.create_task(self._supervise())
            working = load.tasks()
            for _ in range(faults):
                await self._break_something()
                await self._load_goes_on(load)
            load.is_over = True
            await asyncio.gather(*working)
            supervising.cancel()
            await self._heal()
            self._outcome.settled = await audience.settle()
        await load.close()
        self._outcome.problems += self._outcome.settled.problems
        self._outcome.problems += load.problems
        self._outcome.problems += protocol_errors
        self._outcome.seconds = time.monotonic() - started
        return self._outcome

    def _client(self, number: int, load: ChaosLoad) -> RecoveringClient:
        port = self._ports[number // 10 % 2]
        dice = random.Random(self._client_dice.getrandbits(64))
        return listener(number, load, lambda: port, dice, silence_seconds=scaled(SILENCE_SECONDS))

    # --- faults -----------------------------------------------------------------------------------------------------

    async def _break_something(self) -> None:
        name, fault = draw(self._parts, self._dice, self._cut_clients, self._pace)
        self._outcome.faults[name] += 1
        await fault()

    async def _load_goes_on(self, load: ChaosLoad) -> None:
        """Wait until some more requests were answered; after no more of them the next fault comes on top of this one.

        By requests and not by time, so that a slow machine does as much between its faults as a fast one.
        """
        wanted = load.answered + self._dice.randint(0, MOST_REQUESTS_BETWEEN)
        await eventually(lambda: load.answered >= wanted, SETTLE_SECONDS, what="the load goes on after a fault")

    def _cut_clients(self) -> None:
        for client in self._client_dice.sample(self._clients, k=max(1, len(self._clients) // 4)):
            client.cut()

    async def _supervise(self) -> None:
        """A service that gave up without its servers is started again."""
        while True:
            await asyncio.sleep(0.5)
            for name, service in self._stack.services.items():
                if name not in self._parts.down and not service.is_running:
                    await asyncio.to_thread(service.start, wait=False)

    async def _heal(self) -> None:
        for service in self._stack.services.values():
            if not service.is_running:
                await asyncio.to_thread(service.start, wait=False)
        for service in self._stack.services.values():
            await asyncio.to_thread(service.wait_ready, 60)


async def run_chaos(folder: Path, *, seed: int, faults: int, clients: int, pace: float = 0.6) -> Outcome:
    """One run on servers and services of its own. The caller judges the outcome's problems."""
    with contextlib.ExitStack() as cleanup:
        links = cleanup.enter_context(running_links())
        stack = cleanup.enter_context(
            running_stack(
                folder,
                extra_env=ENVIRONMENT,
                durable_servers=True,
                reached_by=lambda service, server, port: links.add(f"{service} to {server}", port),
            )
        )
        return await Chaos(stack, links, seed=seed, clients=clients, pace=pace).run(faults)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    program = FaultProgram("chaos", __doc__, report="faults")
    program.parser.add_argument("--faults", type=int, default=200)
    program.parser.add_argument("--clients", type=int, default=200)
    program.parser.add_argument("--pace", type=float, default=0.6, help="longest pause of a fault, in seconds")
    options = program.begin(arguments)
    with program.folder() as folder:
        outcome = uvloop.run(run_chaos(folder, **vars(options)))
    for name, count in sorted(outcome.faults.items()):
        sys.stdout.write(f"  {count:4} {name}\n")
    return program.finish(outcome.figures(), outcome.problems, byFault=outcome.faults)


if __name__ == "__main__":
    sys.exit(main())
