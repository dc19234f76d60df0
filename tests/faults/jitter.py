"""The jitter test in the shape of AnyCable's: clients lose their network for 2 s every 15 s while broadcasts go on.

`python -m tests.faults.jitter --clients 1000 --seconds 60`: everything must arrive, in order, once; replay times are
from the moment a client is back on the network until it has all that it missed.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from tests.faults.program import FaultProgram
from tests.faults.recovering_client import RecoveringClient
from tests.faults.verdict import percentile_ms
from tests.support.gateway import GatewayNode, running_gateways
from tests.support.polling import eventually
from tests.support.publishing import Publisher
from tests.support.redis_server import running_redis

CHANNEL = "jitter"
PERIOD_SECONDS = 15.0
OFFLINE_SECONDS = 2.0
BROADCASTS_PER_SECOND = 2.0


@dataclass(slots=True)
class JitterReport:
    """What a run came to; times in seconds."""

    clients: int
    broadcasts: int = 0
    drops: int = 0
    incomplete: int = 0
    told_lost: int = 0
    replays: list[float] = field(default_factory=list)

    @property
    def delivered_percent(self) -> float:
        """Share of clients that got everything in order."""
        return 100 * (1 - self.incomplete / self.clients)

    def figures(self) -> dict[str, float]:
        """All figures by name."""
        return {
            "clients": self.clients,
            "broadcasts": self.broadcasts,
            "drops": self.drops,
            "delivered_percent": self.delivered_percent,
            "told_lost": self.told_lost,
            "replay_p50_ms": percentile_ms(self.replays, 0.5),
            "replay_p99_ms": percentile_ms(self.replays, 0.99),
        }


class JitteryClient(RecoveringClient):
    """Is taken off the network now and then."""

    async def jitter(self, report: JitterReport, dice: random.Random, published: list[int]) -> None:
        """Lose the network every period, for as long as this is not cancelled."""
        await asyncio.sleep(dice.uniform(0, PERIOD_SECONDS))
        while True:
            self.go_offline(OFFLINE_SECONDS)
            report.drops += 1
            await asyncio.sleep(OFFLINE_SECONDS)
            back, missed = time.monotonic(), published[0]
            seen = self.seen[CHANNEL]
            await eventually(lambda: len(seen.known) >= missed, 30)  # noqa: B023 - awaited before either changes
            report.replays.append(time.monotonic() - back)
            await asyncio.sleep(PERIOD_SECONDS - OFFLINE_SECONDS)


async def run_jitter(folder: Path, redis_url: str, *, clients: int, seconds: float, seed: int) -> JitterReport:
    """One run over two gateway processes."""
    dice = random.Random(seed)
    report = JitterReport(clients)
    published = [0]
    with running_gateways(folder, redis_url) as nodes:

        async def unsigned(_socket_id: str, _channel: str) -> Mapping[str, str]:
            return {}

        swarm = [
            JitteryClient(
                partial(_port_of, nodes[number % 2]), [CHANNEL], unsigned, random.Random(dice.getrandbits(64))
            )
            for number in range(clients)
        ]
        running = [asyncio.create_task(client.run()) for client in swarm]
        await eventually(lambda: all(client.is_ready for client in swarm), 60, what="every client is subscribed")
        jitter = [asyncio.create_task(client.jitter(report, dice, published)) for client in swarm]
        async with Redis.from_url(redis_url) as redis:
            publisher = Publisher(redis)
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                await publisher.publish(CHANNEL, {"n": published[0]}, event_id=f"event-{published[0]}")
                published[0] += 1
                await asyncio.sleep(1 / BROADCASTS_PER_SECOND)
        await stop(jitter)
        expected = [f"event-{number}" for number in range(published[0])]

        def everything_arrived() -> bool:
            return all(len(client.seen[CHANNEL].known) == len(expected) for client in swarm)

        await eventually(everything_arrived, 30, what="everything arrived")
        await stop(running)
    report.broadcasts = len(expected)
    report.incomplete = sum(client.seen[CHANNEL].ids != expected for client in swarm)
    report.told_lost = sum(client.seen[CHANNEL].told_lost for client in swarm)
    return report


def _port_of(node: GatewayNode) -> int:
    return node.port


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel and wait."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    program = FaultProgram("jitter", __doc__)
    program.parser.add_argument("--clients", type=int, default=1000)
    program.parser.add_argument("--seconds", type=float, default=60)
    options = program.begin(arguments)
    with program.folder() as folder, running_redis(folder) as redis:
        outcome = uvloop.run(run_jitter(folder, redis.url, **vars(options)))
    return program.finish(outcome.figures(), [])


if __name__ == "__main__":
    sys.exit(main())
