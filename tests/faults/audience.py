"""Who listens while a whole platform is broken or restarted, and what each of them must have seen at the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import asyncpg
from sharedjox_outbox.postgres import asyncpg_address

from tests.faults.chaos_load import ChaosLoad
from tests.faults.committed import CommitLog
from tests.faults.link import Link
from tests.faults.recovering_client import RecoveringClient, Recovery
from tests.faults.verdict import Verdict, has_all, judge
from tests.support.polling import eventually, scaled

DISCOVERY: Final = "jobs.discovery"
SETTLE_SECONDS: Final = 90
_MUST_BE_ZERO: Final = {
    "parked": "SELECT count(*) FROM outbox_messages WHERE parked_at IS NOT NULL",
    "unpublished": "SELECT count(*) FROM outbox_messages WHERE published_at IS NULL",
    "ledger_cents": "SELECT coalesce(sum(amount_cents), 0) FROM ledger_entries",
}


class Spy(RecoveringClient):
    """Somebody who also tries to listen to a channel of others, with a signature made for another channel."""

    forbidden = ""

    async def _join(self, link: Link, established: asyncio.Future[str]) -> None:
        await super()._join(link, established)
        signed = await self._authorize(established.result(), next(iter(self.seen)))
        link.send_json({"event": "pusher:subscribe", "data": {"channel": self.forbidden, **signed}})


def listener(
    number: int, load: ChaosLoad, port: Callable[[], int], dice: random.Random, *, silence_seconds: float
) -> RecoveringClient:
    """Of ten clients two have the poster's private channel, one of them as a stock client; one has the other's."""
    own, others = f"private-user.{load.client.id}", f"private-user.{load.freelancer.id}"
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
    client = kind(port, channels, authorize, dice, recovery=recovery, silence_seconds=silence_seconds)
    if isinstance(client, Spy):
        client.forbidden = own
    return client


@dataclass(slots=True)
class Settled:
    """What a run came to once everything had been given its time; good when `problems` is empty."""

    verdict: Verdict = field(default_factory=Verdict)
    database: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """All counts by name."""
        return {**self.verdict.figures(), **self.database}


class Audience:
    """The clients of a run, and the commit log of the channels that they are on."""

    def __init__(self, database_url: str, clients: list[RecoveringClient]) -> None:
        self.clients = clients
        self._database_url = database_url
        self._committed = CommitLog(database_url)
        self._before: dict[str, int] = {}

    @property
    def is_ready(self) -> bool:
        """Whether everybody is on all of their channels now."""
        return all(client.is_ready for client in self.clients)

    async def begin(self) -> None:
        """Wait for everybody; what is committed from now on counts."""
        await eventually(lambda: self.is_ready, SETTLE_SECONDS, what="every client is subscribed")
        await self._follow()
        self._before = {channel: len(ids) for channel, ids in self._committed.ids.items()}

    async def settle(self, *, may_be_told: bool = False) -> Settled:
        """Wait until everybody has everything, or for as long as is reasonable, and judge.

        `may_be_told`: Redis lost its data, so that clients may have been told of a loss.
        """
        await self._follow()
        expected = {channel: ids[self._before[channel] :] for channel, ids in self._committed.ids.items()}
        with contextlib.suppress(AssertionError):  # what is missing is said below, client by client
            await eventually(lambda: all(has_all(client, expected) for client in self.clients), SETTLE_SECONDS)
        await asyncio.sleep(scaled(0.5))  # a repeat would come right behind
        settled = Settled(judge(self.clients, expected))
        settled.problems += settled.verdict.problems
        if settled.verdict.told_lost and not may_be_told:
            settled.problems.append(f"{settled.verdict.told_lost} were told of a loss, but Redis kept its data")
        await self._check_database(settled)
        return settled

    async def _follow(self) -> None:
        await self._committed.follow(*{channel for client in self.clients for channel in client.seen})

    async def _check_database(self, settled: Settled) -> None:
        connection = await asyncpg.connect(asyncpg_address(self._database_url))
        try:
            for what, query in _MUST_BE_ZERO.items():
                with contextlib.suppress(AssertionError):  # said below; what nobody here listens to may take longer
                    await eventually(partial(_is_zero, connection, query), SETTLE_SECONDS)
                count = float(await connection.fetchval(query))
                settled.database[what] = count
                if count:
                    settled.problems.append(f"{what}: {count:g}")
        finally:
            await connection.close()


async def _is_zero(connection: asyncpg.Connection[asyncpg.Record], query: str) -> bool:
    return not await connection.fetchval(query)
