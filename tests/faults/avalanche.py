"""An avalanche: thousands of clients lose their connections at one moment, and all come back at one moment.

    python -m tests.faults.avalanche [--clients 5000] [--gateways 2] [--missed 20] [--seed N]

Every client is on a channel that all share and on one of a number of private ones, with a position of its own. While
all are away more is published, so everybody has something to recover; they return after a second sharp, as stock
pusher-js does, and go on trying. Told are the time until the last one has all its channels and all that it missed, the
processor time of the gateways, and what it cost Redis: history is to be read once per channel and batch of a process,
not once per client.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from tests.benchmarks.machine import cpu_seconds
from tests.faults.link import protocol_errors
from tests.faults.program import FaultProgram
from tests.faults.recovering_client import RecoveringClient, living
from tests.faults.verdict import Verdict, judge, percentile_ms
from tests.support.gateway import APP, GatewayNode, running_gateways
from tests.support.polling import eventually
from tests.support.publishing import Publisher
from tests.support.redis_server import running_redis

SHARED = "avalanche"
GROUPS = 20
RETURN_SECONDS = (1.0, 1.0)
"""pusher-js waits a second before it connects again, without jitter."""
BEFORE = 5
"""Events of each channel that everybody gets before the connections are lost."""
DEADLINE_SECONDS = 120


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    clients: int
    places: int
    """Channels times the gateway processes on which they have members: all of them."""
    verdict: Verdict = field(default_factory=Verdict)
    connect_seconds: float = 0.0
    """For all clients, before the avalanche."""
    away_seconds: list[float] = field(default_factory=list)
    recovered_seconds: float = 0.0
    """From the loss of all connections until everybody is back and has all that it missed."""
    gateway_cpu_seconds: float = 0.0
    commands: dict[str, int] = field(default_factory=dict)
    """Calls that Redis executed from the loss to the recovery, by command, those within scripts among them."""
    publishing: int = 0
    """Scripts among them that this program ran to publish."""
    attempts: int = 0
    """Connections tried; one a client is the least."""

    def figures(self) -> dict[str, float]:
        """All figures by name."""
        history_reads = self.commands.get("exec", 0)  # a read is a transaction, and nothing else here is one
        return {
            "clients": self.clients,
            **self.verdict.figures(),
            "connect_seconds": self.connect_seconds,
            "back_p50_ms": percentile_ms(self.away_seconds, 0.5),
            "back_max_ms": percentile_ms(self.away_seconds, 1.0),
            "recovered_seconds": self.recovered_seconds,
            "attempts": self.attempts,
            "gateway_cpu_seconds": self.gateway_cpu_seconds,
            "gateway_cpu_us_per_client": 1e6 * self.gateway_cpu_seconds / self.clients,
            "redis_commands": sum(self.commands.values()),
            "redis_commands_per_client": sum(self.commands.values()) / self.clients,
            "history_reads": history_reads,
            "history_reads_per_channel_and_process": history_reads / self.places,
        }


async def command_calls(redis: Redis) -> dict[str, int]:
    """Calls so far by command, in small letters."""
    stats = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}


class Avalanche:
    """One run over gateways that are up."""

    def __init__(self, nodes: Sequence[GatewayNode], redis: Redis, *, seed: int, clients: int) -> None:
        dice = random.Random(seed)
        self._nodes = nodes
        self._redis = redis
        self._publisher = Publisher(redis)
        self._groups = [f"private-group.{number}" for number in range(min(GROUPS, clients))]
        self._published: dict[str, list[str]] = {channel: [] for channel in (SHARED, *self._groups)}
        self._clients = [
            RecoveringClient(
                partial(_port_of, nodes[number % len(nodes)]),
                [SHARED, self._groups[number // len(nodes) % len(self._groups)]],
                _sign,
                random.Random(dice.getrandbits(64)),
                retry_seconds=RETURN_SECONDS,
                silence_seconds=DEADLINE_SECONDS,
            )
            for number in range(clients)
        ]

    async def run(self, missed: int) -> Outcome:
        """Connect everybody, cut everybody, publish `missed` events to each channel meanwhile, wait for everybody."""
        outcome = Outcome(len(self._clients), len(self._published) * len(self._nodes))
        began = time.monotonic()
        async with living(self._clients):
            await eventually(lambda: all(one.is_ready for one in self._clients), DEADLINE_SECONDS, what="all are on")
            outcome.connect_seconds = time.monotonic() - began
            await self._publish(BEFORE)
            await eventually(self._everybody_has_everything, DEADLINE_SECONDS, what="all have what came before")
            commands, cpu = await command_calls(self._redis), self._cpu_seconds()
            lost_at = time.monotonic()
            for client in self._clients:
                client.cut()
            await self._publish(missed)
            await eventually(self._everybody_has_everything, DEADLINE_SECONDS, what="all are back and have everything")
            outcome.recovered_seconds = time.monotonic() - lost_at
            outcome.gateway_cpu_seconds = self._cpu_seconds() - cpu
            after = await command_calls(self._redis)
            outcome.commands = {
                name: calls - commands.get(name, 0) for name, calls in after.items() if calls > commands.get(name, 0)
            }
        outcome.publishing = missed * len(self._published)
        outcome.attempts = sum(len(one.close_codes) - 1 for one in self._clients)
        outcome.away_seconds = [seconds for one in self._clients for seconds in one.away_seconds]
        outcome.verdict = self._judge()
        return outcome

    async def _publish(self, count: int) -> None:
        for number in range(count):
            for channel, ids in self._published.items():
                ids.append(f"{channel} {len(ids)}")
                await self._publisher.publish(channel, {"n": number}, event_id=ids[-1])

    def _everybody_has_everything(self) -> bool:
        return all(
            client.is_ready and all(len(seen.known) == len(self._published[name]) for name, seen in client.seen.items())
            for client in self._clients
        )

    def _judge(self) -> Verdict:
        verdict = judge(self._clients, self._published)
        verdict.problems += protocol_errors
        return verdict

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds(node.service.pid) for node in self._nodes)


def _port_of(node: GatewayNode) -> int:
    return node.port


async def _sign(socket_id: str, channel: str) -> Mapping[str, str]:
    return {"auth": APP.sign_channel(socket_id, channel)}


async def run_avalanche(
    folder: Path, redis_url: str, *, seed: int, clients: int, gateways: int, missed: int
) -> Outcome:
    """One run over gateway processes of its own."""
    with running_gateways(folder, redis_url, count=gateways) as nodes:
        async with Redis.from_url(redis_url) as redis:
            return await Avalanche(nodes, redis, seed=seed, clients=clients).run(missed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    program = FaultProgram("avalanche", __doc__)
    program.parser.add_argument("--clients", type=int, default=5000)
    program.parser.add_argument("--gateways", type=int, default=2)
    program.parser.add_argument("--missed", type=int, default=20, help="events of each channel while all are away")
    options = program.begin(arguments)
    with program.folder() as folder, running_redis(folder) as redis:
        outcome = uvloop.run(run_avalanche(folder, redis.url, **vars(options)))
    return program.finish(
        outcome.figures(),
        outcome.verdict.problems,
        redisCommands=dict(sorted(outcome.commands.items())),
        scriptsToPublish=outcome.publishing,
    )


if __name__ == "__main__":
    sys.exit(main())
