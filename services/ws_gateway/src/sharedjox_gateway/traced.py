"""The last span of an event's trace: from its arrival in this process to the last write of its fan-out."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import SpanKind
from sharedjox_kit.tracing import Tracing

from .hub.channel import Arrival, Channel, Delivery
from .hub.fanout import FanoutObserver

_SERVICE: Final = "sharedjox-gateway"


class TracedDeliveries:
    """A fan-out observer around another one: a span per event and process, however many connections got it."""

    def __init__(self, observer: FanoutObserver, tracing: Tracing) -> None:
        self._observer = observer
        self._tracing = tracing

    def delivered(self, channel: Channel, deliveries: list[Delivery], members: int, size: int) -> None:
        """See `hub.fanout.FanoutObserver`."""
        self._observer.delivered(channel, deliveries, members, size)
        for delivery in deliveries:
            if delivery.traceparent:
                self._trace(channel, delivery, members)

    def delivered_now(self, arrivals: list[Arrival], deliveries: int, size: int) -> None:
        """See `hub.fanout.FanoutObserver`: none of these is for a trace."""
        self._observer.delivered_now(arrivals, deliveries, size)

    def _trace(self, channel: Channel, delivery: Delivery, members: int) -> None:
        self._tracing.begin(
            f"deliver {delivery.event}",
            parent=delivery.traceparent,
            kind=SpanKind.CONSUMER,
            attributes={
                "messaging.system": _SERVICE,
                "messaging.destination.name": channel.name,
                "sharedjox.offset": delivery.offset,
                "sharedjox.members": members,
            },
            start_ns=delivery.taken_at_ns or time.time_ns(),
        ).end()
