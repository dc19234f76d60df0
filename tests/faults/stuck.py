"""A thousand readers that hang: the gateway's memory stays flat, each is closed alone, the others get everything.

    python -m tests.faults.stuck [--stuck 1000] [--healthy 50] [--rate 20] [--kilobytes 16] [--seed N]

All are on one channel, which goes on all the time. The stuck ones stop reading, with small receive buffers, so that
what is sent waits in the gateway and not in the kernel. It closes each with 4100 when its buffer is full, and drops it
after the grace; then they notice, come back and recover what they missed. The gateway has its default limits.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from redis.asyncio import Redis

from tests.benchmarks.machine import cpu_seconds, rss_kb
from tests.faults.jitter import stop
from tests.faults.link import protocol_errors
from tests.faults.program import FaultProgram
from tests.faults.recovering_client import Message, RecoveringClient, living
from tests.faults.verdict import Verdict, judge, percentile_ms
from tests.support.gateway import GatewayNode, running_gateways
from tests.support.polling import eventually
from tests.support.publishing import Publisher
from tests.support.redis_server import running_redis

CHANNEL = "firehose"
MOST_EVENTS = 900
"""As many as history keeps, and some to spare: who was stuck recovers all of them."""
DEADLINE_SECONDS = 60
SAMPLE_SECONDS = 0.1
ASK_SECONDS = 0.5
"""Between two looks at the gateway's metrics, which walk over all of its connections."""
SMALL_RECEIVE_BYTES = 4096
CALM = 10
"""The channel is so many times slower while all read: a thousand readers in one process of Python."""
BEFORE = 5
"""Events that everybody reads before some begin to hang."""


@dataclass(slots=True)
class Outcome:
    """What a run came to. Memory is the gateway's resident memory in kilobytes, sampled all the time."""

    verdict: Verdict = field(default_factory=Verdict)
    rss_before: int = 0
    """All connected, everybody reads."""
    rss_peak: int = 0
    rss_closed: int = 0
    """The stuck ones are gone."""
    rss_end: int = 0
    """They are back and have recovered."""
    closed_slow: float = 0
    """Connections that the gateway closed with 4100."""
    gap_events: int = 0
    """The most that one of the stuck had missed when it noticed."""
    healthy_closes: int = 0
    latencies: list[float] = field(default_factory=list)
    """From publishing to one of the healthy, in seconds, while the others hang."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def figures(self) -> dict[str, float]:
        """All figures by name."""
        return {
            **self.verdict.figures(),
            "closed_slow": self.closed_slow,
            "gap_events": self.gap_events,
            "healthy_closes": self.healthy_closes,
            "rss_before_mb": self.rss_before / 1024,
            "rss_peak_growth_mb": (self.rss_peak - self.rss_before) / 1024,
            "rss_closed_growth_mb": (self.rss_closed - self.rss_before) / 1024,
            "rss_end_growth_mb": (self.rss_end - self.rss_before) / 1024,
            "healthy_p50_ms": percentile_ms(self.latencies, 0.5),
            "healthy_p99_ms": percentile_ms(self.latencies, 0.99),
            "seconds": self.seconds,
            "gateway_cpu_seconds": self.cpu_seconds,
        }


class Firehose:
    """One run over one gateway."""

    def __init__(
        self, node: GatewayNode, redis: Redis, *, seed: int, stuck: int, healthy: int, rate: float, kilobytes: int
    ) -> None:
        self._node = node
        self._publisher = Publisher(redis)
        self._rate = rate
        self._pause = CALM / rate
        self._is_over = False
        self._padding = "x" * (1024 * kilobytes)
        self._published: list[str] = []
        self._published_at: dict[str, float] = {}
        self._outcome = Outcome()
        dice = random.Random(seed)
        self._stuck = [self._client(dice, SMALL_RECEIVE_BYTES) for _ in range(stuck)]
        self._healthy = [self._client(dice, None) for _ in range(healthy)]

    def _client(self, dice: random.Random, receive_bytes: int | None) -> RecoveringClient:
        return RecoveringClient(
            lambda: self._node.port,
            [CHANNEL],
            _unsigned,
            random.Random(dice.getrandbits(64)),
            silence_seconds=10 * DEADLINE_SECONDS,
            receive_bytes=receive_bytes,
        )

    def _measure(self, message: Message) -> None:
        self._outcome.latencies.append(time.monotonic() - self._published_at[message.id])

    async def run(self) -> Outcome:
        """Connect all, let some hang, publish until the gateway has closed those, let them come back."""
        outcome, everybody = self._outcome, [*self._stuck, *self._healthy]
        began, cpu = time.monotonic(), cpu_seconds(self._node.service.pid)
        async with living(everybody):
            await eventually(lambda: _are_on(everybody), DEADLINE_SECONDS, what="everybody is subscribed")
            publishing, sampling = asyncio.create_task(self._publish()), asyncio.create_task(self._sample())
            try:
                await self._has_everything(everybody, at_least=BEFORE)
                outcome.rss_before = outcome.rss_peak = self._rss()
                await self._let_them_hang()
                self._is_over = True
                await publishing
                await self._has_everything(everybody)
                outcome.rss_end = self._rss()
            finally:
                await stop([publishing, sampling])
            outcome.healthy_closes = sum(len(client.close_codes) for client in self._healthy)
        outcome.seconds = time.monotonic() - began
        outcome.cpu_seconds = cpu_seconds(self._node.service.pid) - cpu
        outcome.verdict = judge(everybody, {CHANNEL: self._published})
        outcome.verdict.problems += protocol_errors
        return outcome

    async def _let_them_hang(self) -> None:
        for client in self._stuck:
            client.stop_reading()
        self._pause, self._healthy[0].on_event = 1 / self._rate, self._measure
        await eventually(self._all_closed, DEADLINE_SECONDS, what="the gateway has dropped all that hang")
        self._pause, self._healthy[0].on_event = CALM / self._rate, None
        self._outcome.rss_closed = self._rss()
        self._outcome.closed_slow = await self._node.metric("sharedjox_gateway_slow_closes_total")
        self._outcome.gap_events = len(self._published) - min(len(one.seen[CHANNEL].known) for one in self._stuck)
        for client in self._stuck:
            client.receive_bytes = None
            client.cut()  # they notice
        await eventually(
            lambda: all(one.connects > 1 and one.is_ready for one in self._stuck),
            DEADLINE_SECONDS,
            what="those who hung are back",
        )

    async def _publish(self) -> None:
        while not self._is_over and len(self._published) < MOST_EVENTS:
            identity = f"event-{len(self._published)}"
            self._published_at[identity] = time.monotonic()
            await self._publisher.publish(CHANNEL, {"padding": self._padding}, event_id=identity)
            self._published.append(identity)
            await asyncio.sleep(self._pause)

    async def _sample(self) -> None:
        while True:
            self._outcome.rss_peak = max(self._outcome.rss_peak, self._rss())
            await asyncio.sleep(SAMPLE_SECONDS)

    def _rss(self) -> int:
        return rss_kb(self._node.service.pid)

    async def _all_closed(self) -> bool:
        await asyncio.sleep(ASK_SECONDS)
        return await self._node.metric("sharedjox_gateway_connections") == len(self._healthy) and (
            await self._node.metric("sharedjox_gateway_slow_closes_total") >= len(self._stuck)
        )

    async def _has_everything(self, clients: Sequence[RecoveringClient], *, at_least: int = 0) -> None:
        """Wait until all of these have what has been published up to now, or `at_least` so many events."""
        count = max(at_least, len(self._published))
        await eventually(
            lambda: all(one.is_ready and len(one.seen[CHANNEL].known) >= count for one in clients),
            DEADLINE_SECONDS,
            what=f"everybody has {count} events",
        )


def _are_on(clients: Sequence[RecoveringClient]) -> bool:
    return all(client.is_ready for client in clients)


async def _unsigned(_socket_id: str, _channel: str) -> Mapping[str, str]:
    return {}


async def run_stuck(folder: Path, redis_url: str, options: Mapping[str, Any]) -> Outcome:
    """One run over a gateway process of its own; `options` are those of `Firehose`."""
    with running_gateways(folder, redis_url, count=1) as (node,):
        async with Redis.from_url(redis_url) as redis:
            return await Firehose(node, redis, **options).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    program = FaultProgram("stuck", __doc__)
    program.parser.add_argument("--stuck", type=int, default=1000)
    program.parser.add_argument("--healthy", type=int, default=50)
    program.parser.add_argument("--rate", type=float, default=20, help="events a second while some hang")
    program.parser.add_argument("--kilobytes", type=int, default=16, help="size of an event")
    options = program.begin(arguments)
    with program.folder() as folder, running_redis(folder) as redis:
        outcome = uvloop.run(run_stuck(folder, redis.url, vars(options)))
    counts = {"stuck": options.stuck, "healthy": options.healthy, "never_closed": options.stuck - outcome.closed_slow}
    return program.finish(counts | outcome.figures(), outcome.verdict.problems)


if __name__ == "__main__":
    sys.exit(main())
