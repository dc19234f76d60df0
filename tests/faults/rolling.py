"""A rolling restart of all workers and gateways under load: nothing may be lost, and everybody is back within seconds.

    python -m tests.faults.rolling [--clients 1000] [--gateways 3] [--workers 2] [--seed N]

One process after the other gets SIGTERM, is given its time (a gateway sends its clients away with 4200 in waves), ends,
and is started again on the same place before the next one's turn, as an orchestrator does. Half of the clients come
through a TCP proxy. A client's return is timed from the close of its connection until it is on all of its channels.
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
from sharedjox_devstack.ports import free_port

from tests.faults.audience import SETTLE_SECONDS, Audience, Settled, listener
from tests.faults.chaos_load import ChaosLoad
from tests.faults.link import protocol_errors
from tests.faults.program import FaultProgram
from tests.faults.recovering_client import RecoveringClient, living
from tests.faults.verdict import percentile_ms
from tests.support.links import running_links
from tests.support.polling import eventually, scaled
from tests.support.processes import ServiceProcess, python_module, running
from tests.support.stack import Stack, running_stack

MOST_REQUESTS_BETWEEN = 20
SILENCE_SECONDS = 30.0
RECONNECT = 4200
LOAD_PAUSE_SECONDS = 0.25
"""After each answer: a thousand clients in one process of Python take some ten thousand deliveries a second."""


@dataclass(slots=True)
class Outcome:
    """What a run came to. It is good when `problems` is empty and the returns were quick enough."""

    settled: Settled = field(default_factory=Settled)
    away_seconds: list[float] = field(default_factory=list)
    """Each return of each client."""
    closes: Counter[str] = field(default_factory=Counter)
    """How connections ended, by close code."""
    stops: dict[str, float] = field(default_factory=dict)
    """Seconds from SIGTERM to the end, by process."""
    never_moved: int = 0
    """Clients that no drain has moved: a gateway was forgotten."""
    requests: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """All figures by name."""
        return {
            "restarts": len(self.stops),
            "seconds": self.seconds,
            "requests": self.requests,
            **self.settled.figures(),
            "never_moved": self.never_moved,
            "closed_with_4200": self.closes[str(RECONNECT)],
            "closed_otherwise": self.closes.total() - self.closes[str(RECONNECT)],
            "back_p50_ms": percentile_ms(self.away_seconds, 0.5),
            "back_p99_ms": percentile_ms(self.away_seconds, 0.99),
            "back_max_ms": percentile_ms(self.away_seconds, 1.0),
            "problems": len(self.problems),
        }


class Rolling:
    """One run over one stack; `services` are restarted in this order."""

    def __init__(self, stack: Stack, services: Sequence[ServiceProcess], *, seed: int) -> None:
        self._stack = stack
        self._services = services
        self._dice = random.Random(seed)
        self._outcome = Outcome()

    async def run(self, ports: Sequence[int], count: int) -> Outcome:
        """Start `count` clients, which share the `ports`, and the load; restart everything; settle."""
        began = time.monotonic()
        accounts = await self._stack.log_in("client"), await self._stack.log_in("freelancer")
        load = ChaosLoad(self._stack.ports.api, *accounts, pause_seconds=LOAD_PAUSE_SECONDS)
        clients = [self._client(number, load, ports[number // 10 % len(ports)]) for number in range(count)]
        audience = Audience(self._stack.env["DATABASE_URL"], clients)
        outcome = self._outcome
        async with living(clients):
            await audience.begin()
            working = load.tasks()
            for service in self._services:
                await self._load_goes_on(load)
                await self._restart(service)
            await self._load_goes_on(load)
            load.is_over = True
            await asyncio.gather(*working)
            outcome.settled = await audience.settle()
            closes = [[str(code) for code in client.close_codes] for client in clients]
        await load.close()
        outcome.closes = Counter(code for codes in closes for code in codes)
        outcome.never_moved = sum(str(RECONNECT) not in codes for codes in closes)
        outcome.away_seconds = [seconds for client in clients for seconds in client.away_seconds]
        outcome.requests = load.answered
        outcome.problems += outcome.settled.problems + load.problems + protocol_errors
        outcome.seconds = time.monotonic() - began
        return outcome

    def _client(self, number: int, load: ChaosLoad, port: int) -> RecoveringClient:
        dice = random.Random(self._dice.getrandbits(64))
        return listener(number, load, lambda: port, dice, silence_seconds=scaled(SILENCE_SECONDS))

    async def _load_goes_on(self, load: ChaosLoad) -> None:
        wanted = load.answered + self._dice.randint(1, MOST_REQUESTS_BETWEEN)
        await eventually(lambda: load.answered >= wanted, SETTLE_SECONDS, what="the load goes on")

    async def _restart(self, service: ServiceProcess) -> None:
        began = time.monotonic()
        if await asyncio.to_thread(service.stop):
            self._outcome.problems.append(f"{service.name} had to be killed")
        self._outcome.stops[service.name] = round(time.monotonic() - began, 2)
        await asyncio.to_thread(service.start)


def further_worker(stack: Stack, number: int, folder: Path) -> ServiceProcess:
    """One more worker beside the stack's own; not started yet."""
    port = free_port()
    return ServiceProcess(
        f"worker-{number}",
        python_module("sharedjox_worker.main"),
        log_file=folder / f"worker-{number}.log",
        env=stack.env | {"WORKER_METRICS_PORT": str(port)},
        ready_port=port,
    )


async def run_rolling(
    folder: Path, *, seed: int, clients: int, gateways: int, workers: int, drain_seconds: float
) -> Outcome:
    """One run on servers and services of its own. The caller judges the outcome."""
    with contextlib.ExitStack() as cleanup:
        links = cleanup.enter_context(running_links())
        settings = {"DRAIN_SECONDS": str(drain_seconds)}
        stack = cleanup.enter_context(running_stack(folder, gateways=gateways, extra_env=settings))
        more = [further_worker(stack, number, folder) for number in range(2, workers + 1)]
        cleanup.enter_context(running(*more))
        ports = stack.ports.gateway, links.add("clients", stack.ports.gateway)
        services = [stack.worker, *more, *stack.gateways]
        return await Rolling(stack, services, seed=seed).run(ports, clients)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    program = FaultProgram("rolling", __doc__)
    program.parser.add_argument("--clients", type=int, default=1000)
    program.parser.add_argument("--gateways", type=int, default=3)
    program.parser.add_argument("--workers", type=int, default=2)
    program.parser.add_argument("--drain-seconds", type=float, default=10.0)
    options = program.begin(arguments)
    with program.folder() as folder:
        outcome = uvloop.run(run_rolling(folder, **vars(options)))
    shares = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
    return program.finish(
        {"clients": options.clients, **outcome.figures()},
        outcome.problems,
        stopSeconds=outcome.stops,
        closes=outcome.closes,
        backMs={f"{share:g}": round(percentile_ms(outcome.away_seconds, share), 1) for share in shares},
    )


if __name__ == "__main__":
    sys.exit(main())
