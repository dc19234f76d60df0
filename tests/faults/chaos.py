"""Breaks every part of a real platform under load, then checks that nothing was lost, doubled, reordered or leaked.

    python -m tests.faults.chaos [--faults 200] [--clients 200] [--seed N] [--pace 0.6]

api, worker, both gateways, Redis and Postgres are killed, frozen and restarted; the connections between them, and those
of half the clients, go through proxies that cut, swallow and slow. The first line of output repeats a run's dice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from sharedjox_outbox.postgres import asyncpg_address

from tests.benchmarks.report import Report, read_budgets
from tests.faults.chaos_load import ChaosLoad
from tests.faults.committed import CommitLog
from tests.faults.link import Link, protocol_errors
from tests.faults.parts import Parts, draw
from tests.faults.recovering_client import RecoveringClient, Recovery, living
from tests.faults.verdict import Verdict, has_all, judge
from tests.support.links import Links, running_links
from tests.support.polling import eventually, scaled
from tests.support.stack import Stack, running_stack

BUDGETS = Path(__file__).with_name("budgets.json")
DISCOVERY = "jobs.discovery"
SETTLE_SECONDS = 90
MOST_REQUESTS_BETWEEN = 8
SILENCE_SECONDS = 3.0
ENVIRONMENT = {"DRAIN_SECONDS": "0.5", "REDIS_PROBE_SECONDS": "1"}
_MUST_BE_ZERO = {
    "parked": "SELECT count(*) FROM outbox_messages WHERE parked_at IS NOT NULL",
    "unpublished": "SELECT count(*) FROM outbox_messages WHERE published_at IS NULL",
    "ledger_cents": "SELECT coalesce(sum(amount_cents), 0) FROM ledger_entries",
}


@dataclass(slots=True)
class Outcome:
    """What a run came to. It is good when `problems` is empty."""

    faults: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    database: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """All counts by name."""
        return {
            "faults": self.faults.total(),
            "kinds_of_faults": len(self.faults),
            "seconds": self.seconds,
            **self.verdict.figures(),
            **self.database,
            "problems": len(self.problems),
        }

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.figures().items())


class Spy(RecoveringClient):
    """Somebody who also tries to listen to a channel of others, with a signature made for another channel."""

    forbidden = ""

    async def _join(self, link: Link, established: asyncio.Future[str]) -> None:
        await super()._join(link, established)
        signed = await self._authorize(established.result(), next(iter(self.seen)))
        link.send_json({"event": "pusher:subscribe", "data": {"channel": self.forbidden, **signed}})


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
        self._committed = CommitLog(stack.env["DATABASE_URL"])
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
            await eventually(self._all_ready, SETTLE_SECONDS, what="every client is subscribed")
            before = await self._now_committed()
            supervising = asyncio.create_task(self._supervise())
            working = load.tasks()
            for _ in range(faults):
                await self._break_something()
                await self._load_goes_on(load)
            load.is_over = True
            await asyncio.gather(*working)
            supervising.cancel()
            await self._heal()
            await self._settle(before)
        await load.close()
        self._outcome.problems += load.problems
        self._outcome.problems += protocol_errors
        self._outcome.seconds = time.monotonic() - started
        return self._outcome

    def _client(self, number: int, load: ChaosLoad) -> RecoveringClient:
        """Of ten clients two have the poster's private channel, one of them as a stock client; one has the other's."""
        dice = random.Random(self._client_dice.getrandbits(64))
        own, others = f"private-user.{load.client.id}", f"private-user.{load.freelancer.id}"
        port = self._ports[number // 10 % 2]
        authorize = load.authorize(load.client)
        kind, channels, recovery = RecoveringClient, [DISCOVERY], Recovery.OWN_POSITION
        match number % 10:
            case 0:
                channels = [DISCOVERY, own]
            case 1:
                channels, recovery = [own], Recovery.CLIENT_ID
                authorize = load.authorize(load.client, client_id=f"tab-{number}")
            case 2:
                kind, channels = Spy, [others]
                authorize = load.authorize(load.freelancer)
        client = kind(
            lambda: port, channels, authorize, dice, recovery=recovery, silence_seconds=scaled(SILENCE_SECONDS)
        )
        if isinstance(client, Spy):
            client.forbidden = own
        return client

    def _all_ready(self) -> bool:
        return all(client.is_ready for client in self._clients)

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

    # --- what must hold -----------------------------------------------------------------------------------------------

    def _channels(self) -> set[str]:
        return {channel for client in self._clients for channel in client.seen}

    async def _now_committed(self) -> dict[str, int]:
        await self._committed.follow(*self._channels())
        return {channel: len(ids) for channel, ids in self._committed.ids.items()}

    async def _settle(self, before: dict[str, int]) -> None:
        await self._now_committed()
        expected = {channel: ids[before[channel] :] for channel, ids in self._committed.ids.items()}
        with contextlib.suppress(AssertionError):  # what is missing is said below, client by client
            await eventually(lambda: all(has_all(client, expected) for client in self._clients), SETTLE_SECONDS)
        await asyncio.sleep(scaled(0.5))  # a repeat would come right behind
        outcome = self._outcome
        outcome.verdict = judge(self._clients, expected)
        outcome.problems += outcome.verdict.problems
        if outcome.verdict.told_lost:
            outcome.problems.append(f"{outcome.verdict.told_lost} were told of a loss, but Redis kept its data")
        await self._check_database()

    async def _check_database(self) -> None:
        connection = await asyncpg.connect(asyncpg_address(self._stack.env["DATABASE_URL"]))
        try:
            for what, query in _MUST_BE_ZERO.items():
                with contextlib.suppress(AssertionError):  # said below; what nobody here listens to may take longer
                    await eventually(partial(_is_zero, connection, query), SETTLE_SECONDS)
                count = float(await connection.fetchval(query))
                self._outcome.database[what] = count
                if count:
                    self._outcome.problems.append(f"{what}: {count:g}")
        finally:
            await connection.close()


async def _is_zero(connection: asyncpg.Connection[asyncpg.Record], query: str) -> bool:
    return not await connection.fetchval(query)


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


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--pace", type=float, default=0.6, help="longest pause of a fault, in seconds")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    return options


def replay_line(options: Any) -> str:
    """The command that repeats a run's dice."""
    return (
        f"python -m tests.faults.chaos --faults {options.faults} --clients {options.clients} "
        f"--pace {options.pace:g} --seed {options.seed}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    sys.stdout.write(f"replay: {replay_line(options)}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="sharedjox-chaos-") as folder:
        outcome = uvloop.run(
            run_chaos(
                Path(folder), seed=options.seed, faults=options.faults, clients=options.clients, pace=options.pace
            )
        )
    report = Report("faults", read_budgets("faults", BUDGETS))
    report.add(**outcome.figures())
    report.details |= {"replay": replay_line(options), "byFault": outcome.faults, "problems": outcome.problems[:100]}
    for name, count in sorted(outcome.faults.items()):
        sys.stdout.write(f"  {count:4} {name}\n")
    for problem in outcome.problems[:20]:
        sys.stdout.write(f"  {problem}\n")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
