"""The relay: takes committed rows to Redis, in commit order for each channel, whoever else relays.

A claim is one transaction: lock shards, select (a later snapshot), publish, mark, commit. A relay that dies before the
commit leaves its rows pending; they are published again and the script, which knows the event ids, changes nothing.
docs/adr/0010-relay-order-and-crash-windows.md goes through every place where it may stop.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from redis.exceptions import RedisError
from sharedjox_contracts.events import Payload
from sharedjox_kit.logs import get_logger

from . import claims
from .claims import Connection, RecordPool, Row
from .decisions import Backoff, Park, RetryChannel, RetryWholeRelay, decide
from .metrics import RelayMetrics
from .preparation import ControlStep, EventStep, Plan, Preparer, Step
from .publisher import HistoryInDoubtError, Publisher, StepPublished, StepResult
from .schema import SHARDS

log = get_logger(__name__)

ControlHandler = Callable[[Row, Payload], Awaitable[None]]
"""Carries out a control row. It may be called again for the same row, and must then do no harm."""

_POSTGRES_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The last is what a connection answers that has read the server's farewell and not yet the end of the stream."""
_CONTENDED_SECONDS: Final = 0.01
_CONTROL_SECONDS: Final = 5.0
_CHANNEL_RETRY_SECONDS: Final = 1.0
_MOST_REPAIRS: Final = 3
"""One after the other: a history that is in doubt again at once is left for a while."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How a relay works. `batch_rows` may not exceed a channel's history length.

    `replay_window`: after a restart of Redis, how much of what it had confirmed is published again; it must cover what
    its persistence may lose (appendfsync everysec: two seconds). `replay_reach`: nothing older than this is repeated.
    """

    batch_rows: int = 500
    shards_per_claim: int = 4
    repeat_rows_per_channel: int = 500
    replay_window: dt.timedelta = dt.timedelta(seconds=10)
    replay_reach: dt.timedelta = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is left to do until the next bell."""


@dataclass(frozen=True, slots=True)
class ComeBack:
    """Run again after this time, bell or no bell: somebody else has the rows, or a server is away."""

    after_seconds: float
    reason: str


NextRun = Idle | ComeBack


@dataclass(frozen=True, slots=True)
class _Pass:
    """What one claim came to."""

    rows: int = 0
    has_more: bool = False
    is_contended: bool = False
    outage: RetryWholeRelay | None = None
    doubtful: Sequence[str] = ()


@dataclass(slots=True)
class _Delivery:
    """Collects what happened to a batch's rows. Nothing of `doubtful` channels was published."""

    published: list[int] = field(default_factory=list)
    outage: RetryWholeRelay | None = None
    doubtful: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Repair:
    """Of how many rows history was asked again, and how many of those Redis had forgotten."""

    repeated: int = 0
    forgotten: int = 0


class Relay:
    """Publishes pending rows. One coroutine at a time may run `drain`; any number of processes may."""

    def __init__(
        self,
        *,
        pool: RecordPool,
        publisher: Publisher,
        preparer: Preparer,
        on_control: ControlHandler,
        metrics: RelayMetrics,
        settings: RelaySettings | None = None,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._preparer = preparer
        self._on_control = on_control
        self._metrics = metrics
        self._settings = settings or RelaySettings()
        self._backoff = Backoff()
        self._resting: dict[str, float] = {}
        self._repair = _Repair()
        self._is_stopping = False

    def request_stop(self) -> None:
        """Let `drain` return after the batch that it is working on."""
        self._is_stopping = True

    async def drain(self) -> NextRun:
        """Publish until nothing is left to do here. Raises only for mistakes in this program."""
        try:
            return await self._drain()
        except HistoryInDoubtError as error:
            return self._after_outage(str(error))
        except (*_POSTGRES_ERRORS, RedisError, OSError, TimeoutError) as error:
            return self._after_outage(f"{type(error).__name__}: {error}")

    async def aclose(self) -> None:
        """End what runs beside the relay, after the last `drain`."""
        await self._publisher.aclose()

    async def _drain(self) -> NextRun:
        repairs = 0
        while True:
            try:
                done = await self._claim()
            except HistoryInDoubtError:
                await self._repair_history()
                done = await self._claim()
            if self._publisher.is_in_doubt:
                repairs += 1
                if repairs > _MOST_REPAIRS or not await self._repair_part(done.doubtful):
                    return self._after_outage("part of the history is in doubt")
                continue
            if done.outage is not None:
                return self._after_outage(done.outage.reason)
            self._backoff.reset()
            if done.is_contended:
                return ComeBack(_CONTENDED_SECONDS, "contended")
            if not done.has_more or self._is_stopping:
                return ComeBack(_CHANNEL_RETRY_SECONDS, "channel resting") if self._resting else Idle()

    def _after_outage(self, reason: str) -> ComeBack:
        self._metrics.failures.labels("retry_relay").inc()
        delay = self._backoff.next_delay()
        log.warning("outbox.relay_paused", reason=reason, seconds=round(delay, 3))
        return ComeBack(delay, reason)

    async def _claim(self) -> _Pass:
        settings, resting = self._settings, self._resting_channels()
        async with self._pool.acquire() as connection, connection.transaction():
            claim = await claims.lock_shards(connection, except_channels=resting, limit=settings.shards_per_claim)
            if not claim.locked:
                return _Pass(is_contended=claim.pending > 0)
            rows = await claims.select_pending(
                connection, shards=claim.locked, except_channels=resting, limit=settings.batch_rows
            )
            delivery = await self._deliver(connection, rows)
        is_full = len(rows) * len(claim.locked) >= settings.batch_rows
        has_more = is_full or claim.pending > len(claim.locked)
        return _Pass(len(rows), has_more=has_more, outage=delivery.outage, doubtful=delivery.doubtful)

    async def _deliver(self, connection: Connection, rows: Sequence[Row]) -> _Delivery:
        """Publish `rows` and write down, in the open transaction, what became of each."""
        plan = self._preparer.plan(rows)
        for row, rejection in plan.rejected:
            await self._note(connection, row, rejection)
        delivery = _Delivery()
        while plan.steps and delivery.outage is None:
            for step, error in await self._run_round(_take_first_steps(plan)):
                if error is None:
                    self._count_published(step)
                    delivery.published += _row_ids(step)
                    continue
                plan.steps.pop(step.channel, None)
                if isinstance(error, HistoryInDoubtError):
                    delivery.doubtful.append(step.channel)
                    continue
                decision = await self._note(connection, _first_row(step), error, is_control=_is_control(step))
                if isinstance(decision, RetryWholeRelay):
                    delivery.outage = decision
        if delivery.published:
            await claims.mark_published(connection, delivery.published)
        self._metrics.batch_rows.observe(len(rows))
        log.debug("outbox.batch_published", rows=len(rows), published=len(delivery.published))
        return delivery

    async def _run_round(self, steps: Sequence[Step]) -> list[tuple[Step, BaseException | None]]:
        """Run one step of each channel; events of all channels share a round trip."""
        outcomes: list[tuple[Step, BaseException | None]] = []
        events = [step for step in steps if isinstance(step, EventStep)]
        if events:
            outcomes += [
                (step, None if isinstance(result, StepPublished) else result)
                for step, result in await self._publish(events, repeating=False)
            ]
        for step in steps:
            if isinstance(step, ControlStep):
                outcomes.append((step, await self._control(step)))
        return outcomes

    async def _publish(self, steps: Sequence[EventStep], *, repeating: bool) -> list[tuple[EventStep, StepResult]]:
        started = time.monotonic()
        try:
            results = await self._publisher.publish(steps, repeating=repeating)
        except HistoryInDoubtError:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            return [(step, error) for step in steps]
        self._metrics.publish_seconds.observe(time.monotonic() - started)
        self._metrics.repeats.inc(sum(result.repeats for result in results if isinstance(result, StepPublished)))
        return list(zip(steps, results, strict=True))

    async def _control(self, step: ControlStep) -> BaseException | None:
        try:
            async with asyncio.timeout(_CONTROL_SECONDS):
                await self._on_control(step.row, step.payload)
        except Exception as error:  # noqa: BLE001 - one row's trouble, decided about like any other
            log.warning("outbox.control_failed", event_name=step.row.event_name, error=repr(error))
            return error
        return None

    async def _note(
        self, connection: Connection, row: Row, error: BaseException, *, is_control: bool = False
    ) -> RetryWholeRelay | RetryChannel | Park:
        """Decide about a failed row, and write the decision down."""
        decision = decide(error, attempts=row.attempts)
        match decision:
            case Park(reason):
                await claims.park(connection, row.id, reason)
                self._metrics.failures.labels("park").inc()
                self._metrics.events.labels(row.event_name, "parked").inc()
                log.error("outbox.row_parked", row=row.id, event_id=str(row.event_id), channel=row.channel, why=reason)
            case RetryChannel(reason):
                await claims.note_failure(connection, row.id, reason)
                self._rest(row.channel, reason)
            case RetryWholeRelay(reason) if is_control:
                # The handler asks other servers than the publisher does; events of other channels need not wait.
                self._rest(row.channel, reason)
                return RetryChannel(reason)
            case RetryWholeRelay(reason) if self._publisher.is_divided:
                self._rest(row.channel, reason)  # a node of several is away: the channels of the others go on
                return RetryChannel(reason)
        return decision

    def _rest(self, channel: str, reason: str) -> None:
        self._metrics.failures.labels("retry_channel").inc()
        self._resting[channel] = time.monotonic() + _CHANNEL_RETRY_SECONDS
        say = log.debug if self._publisher.is_divided else log.warning  # thousands may share a node that is away
        say("outbox.channel_resting", channel=channel, reason=reason)

    def _resting_channels(self) -> list[str]:
        now = time.monotonic()
        self._resting = {channel: until for channel, until in self._resting.items() if until > now}
        return list(self._resting)

    def _count_published(self, step: Step) -> None:
        now = dt.datetime.now(dt.UTC)
        rows = [step.row] if isinstance(step, ControlStep) else [event.row for event in step.events]
        for row in rows:
            self._metrics.events.labels(row.event_name, "published").inc()
            seconds = max(0.0, (now - row.created_at).total_seconds())
            self._metrics.commit_to_publish_seconds.labels(row.event_name).observe(seconds)
        if isinstance(step, EventStep):
            for event in step.events:
                if event.span is not None:
                    event.span.end()

    async def _repair_part(self, channels: Sequence[str]) -> bool:
        """Make the doubtful part of history good; if that fails, its channels wait and the others go on."""
        try:
            await self._repair_history()
        except (HistoryInDoubtError, RedisError, OSError, TimeoutError) as error:
            for channel in channels:
                self._rest(channel, f"{type(error).__name__}: {error}")
            return False
        return True

    async def _repair_history(self) -> None:
        """Redis was restarted: publish again, before anything new, what it may have forgotten after confirming it."""
        settings = self._settings
        await self._publisher.begin_repeating()
        since = await self._replay_start()
        for shard in range(SHARDS):
            async with self._pool.acquire() as connection, connection.transaction():
                await claims.wait_for_shard(connection, shard)
                # Asked under the lock: once another relay has finished, it may be publishing newer events here.
                if await self._publisher.is_history_trusted():
                    return
                rows, cut = await claims.select_recent(
                    connection, shard=shard, since=since, limit=settings.repeat_rows_per_channel
                )
                await self._repeat(rows, cut)
        await self._publisher.trust_history()
        self._say_repaired(since)

    def _say_repaired(self, since: dt.datetime) -> None:
        """Loudly when Redis had forgotten something. A first start is no repair: nothing was ever published."""
        repair, self._repair = self._repair, _Repair()
        if repair.repeated:
            self._metrics.repairs.inc()
        counted = {"since": since.isoformat(), "repeated": repair.repeated, "forgotten": repair.forgotten}
        if repair.forgotten:
            log.warning("outbox.history_repaired", **counted)
        else:
            log.info("outbox.history_checked", **counted)

    async def _replay_start(self) -> dt.datetime:
        async with self._pool.acquire() as connection:
            return await claims.replay_start(
                connection, window=self._settings.replay_window, reach=self._settings.replay_reach
            )

    async def _repeat(self, rows: Sequence[Row], cut_channels: set[str]) -> None:
        """Raises: what Redis answers to the first step that fails."""
        plan = self._preparer.plan(rows)
        for channel, steps in list(plan.steps.items()):
            plan.steps[channel] = [step for step in steps if self._publisher.is_doubtful(step)]
            if not plan.steps[channel]:
                del plan.steps[channel]
        for channel in cut_channels & plan.steps.keys():
            # More was published in the window than is repeated: if the oldest repeat is news to Redis, there is a hole
            # before it, and only another epoch tells subscribers so.
            first = next((step for step in plan.steps[channel] if isinstance(step, EventStep)), None)
            if first is not None:
                await self._publisher.restart_history_unless_it_has(channel, str(_first_row(first).event_id))
        while plan.steps:
            steps = _take_first_steps(plan)
            events = [step for step in steps if isinstance(step, EventStep)]
            for event_step, result in await self._publish(events, repeating=True) if events else ():
                if not isinstance(result, StepPublished):
                    raise result
                self._repair.repeated += len(event_step.events)
                self._repair.forgotten += len(event_step.events) - result.repeats
            for step in steps:
                if isinstance(step, ControlStep):
                    self._repair.repeated += 1
                    await self._control(step)


def _take_first_steps(plan: Plan) -> list[Step]:
    """Remove the first step of every channel from the plan."""
    steps = [channel_steps.pop(0) for channel_steps in plan.steps.values()]
    plan.steps = {channel: rest for channel, rest in plan.steps.items() if rest}
    return steps


def _row_ids(step: Step) -> list[int]:
    return [step.row.id] if isinstance(step, ControlStep) else [event.row.id for event in step.events]


def _first_row(step: Step) -> Row:
    return step.row if isinstance(step, ControlStep) else step.events[0].row


def _is_control(step: Step) -> bool:
    return isinstance(step, ControlStep)
