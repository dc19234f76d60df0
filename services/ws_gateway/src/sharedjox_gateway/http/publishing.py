"""`POST events`, `batch_events` and the deprecated `channels/{name}/events`: from checked events to Redis.

The answer is sent when Redis has confirmed every channel: 200 means that the event stands in each history. If one is
not confirmed the answer is 503, and the publisher repeats.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from sharedjox_contracts.channels import ChannelKind
from sharedjox_contracts.frames import open_event_frame
from sharedjox_contracts.publication import Header, encode_header
from sharedjox_kit.clock import unix_us
from sharedjox_kit.logs import get_logger

from sharedjox_gateway.apps import App
from sharedjox_gateway.broker.base import Broker
from sharedjox_gateway.broker.durable import DurableEvent, PublishHandler
from sharedjox_gateway.stats import Stats

from .channels import ChannelDirectory
from .events import Event, kind_of
from .exchange import EMPTY, Answer, ApiRequest, Respond, json_answer, unavailable

_log = get_logger(__name__)
MAX_UNCONFIRMED_LOG_EVERY: Final = 100


class EventPublishing:
    """Publishes checked events. `cache_ms` is the life of a cache channel's last event."""

    def __init__(self, broker: Broker, directory: ChannelDirectory, stats: Stats, cache_ms: int) -> None:
        self._broker = broker
        self._directory = directory
        self._stats = stats
        self._cache_ms = cache_ms
        self._stem = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._unconfirmed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def publish_one(self, app: App, event: Event, request: ApiRequest, respond: Respond, status: int = 200) -> None:
        """Publish and answer `{}`, or the channels' attributes when `info` asks for some."""

        def done(failure: Exception | None) -> None:
            if failure is not None:
                respond(self._not_confirmed(failure))
            elif event.info:
                self._later(self._answer_info(app, [event], respond, _event_answer))
            else:
                respond(EMPTY if status == EMPTY.status else Answer(status, EMPTY.body))

        self.publish(app, (event,), request, done)

    def publish_batch(self, app: App, events: list[Event], request: ApiRequest, respond: Respond) -> None:
        """Publish in order and answer `{}`, or one entry for each event when some ask for attributes."""

        def done(failure: Exception | None) -> None:
            if failure is not None:
                respond(self._not_confirmed(failure))
            elif any(event.info for event in events):
                self._later(self._answer_info(app, events, respond, _batch_answer))
            else:
                respond(EMPTY)

        self.publish(app, events, request, done)

    def publish(self, app: App, events: Sequence[Event], request: ApiRequest, done: PublishHandler) -> None:
        """Publish checked events; those of one channel in one call, so that none of them overtakes another."""
        self._stats.api_events += len(events)
        by_channel: dict[str, list[DurableEvent]] = {}
        for event in events:
            for channel in event.channels:
                by_channel.setdefault(channel, []).append(self._durable(event, channel, request))
        if len(by_channel) > 1:
            done = _when_all_confirmed(len(by_channel), done)
        for channel, durable in by_channel.items():
            kind = kind_of(channel)
            cache_ms = self._cache_ms if kind is not ChannelKind.PUBLIC and kind.is_cache else 0
            self._broker.publish_durable(app.id, channel, durable, cache_ms, done)

    def _durable(self, event: Event, channel: str, request: ApiRequest) -> DurableEvent:
        event_id = event.event_id or f"{self._stem}-{next(self._numbers):x}"
        header = Header(event.name, event_id, event.socket_id, unix_us(), request.traceparent, request.request_id)
        frame = open_event_frame(event=event.name, channel=channel, data=event.data, event_id=event_id)
        return DurableEvent(event_id, frame, encode_header(header))

    def _not_confirmed(self, failure: Exception) -> Answer:
        if self._unconfirmed % MAX_UNCONFIRMED_LOG_EVERY == 0:
            _log.warning("api.event_not_confirmed", error=str(failure), so_far=self._unconfirmed)
        self._unconfirmed += 1
        return unavailable().answer

    # --- info -------------------------------------------------------------------------------------------------------

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_info(
        self,
        app: App,
        events: list[Event],
        respond: Respond,
        build: Callable[[list[dict[str, dict[str, Any]]]], dict[str, Any]],
    ) -> None:
        try:
            attributes = [
                {
                    channel: await self._directory.attributes(app, channel, _applicable(channel, event.info))
                    for channel in event.channels
                }
                if event.info
                else {}
                for event in events
            ]
        except (OSError, hiredis.HiredisError):
            # The events are published: to answer with an error now would have them sent again.
            attributes = [{} for _ in events]
        respond(json_answer(build(attributes)))


def _applicable(channel: str, info: tuple[str, ...]) -> tuple[str, ...]:
    """In answers to a publish, attributes that a kind of channel does not have are left out, not refused."""
    kind = kind_of(channel)
    wanted = {"user_count": kind.is_presence, "subscription_count": not kind.is_presence, "cache": False}
    return tuple(attribute for attribute in info if wanted[attribute])


def _event_answer(attributes: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    return {"channels": attributes[0]}


def _batch_answer(attributes: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    return {"batch": [next(iter(channels.values()), {}) for channels in attributes]}


def _when_all_confirmed(count: int, done: PublishHandler) -> PublishHandler:
    """A handler for each of `count` calls: `done` hears the first failure, or None, after the last of them."""
    waiting = count
    failure: Exception | None = None

    def one_done(result: Exception | None) -> None:
        nonlocal waiting, failure
        waiting -= 1
        failure = failure or result
        if waiting == 0:
            done(failure)

    return one_done
