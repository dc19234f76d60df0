"""Commands from the worker and from other gateways, each carried out once and in order, also behind an outage.

They are durable events of a channel that only gateways listen to (`redis_layout.CONTROL_CHANNEL`). Whoever was cut off
from Redis reads what it missed when it is back. Where that cannot be known any more, rights may have been taken away
without a word, and the app is reported as doubtful. Source: docs/adr/0031-what-redis-forgot.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from sharedjox_contracts.control import Command, decode_command
from sharedjox_contracts.publication import Publication
from sharedjox_contracts.redis_layout import CONTROL_CHANNEL
from sharedjox_kit.logs import get_logger

from .broker.base import NOWHERE, Broker, BrokerListener, HistoryPage, Place

_log = get_logger(__name__)


class ControlFeed(BrokerListener):
    """Follows the commands of each app. `apply` carries one out; `doubt` hears of an app whose commands were missed.

    Its second argument is whether there ever were any, as far as this process knows.
    """

    def __init__(
        self, broker: Broker, apply: Callable[[str, Command], None], doubt: Callable[[str, bool], None]
    ) -> None:
        self._broker = broker
        self._apply = apply
        self._doubt = doubt
        self._places: dict[str, Place] = {}
        self._reading: set[str] = set()
        self._seen: dict[str, int] = {}
        """The highest offset that was announced, while commands before it are being read."""

    def follow(self, app_ids: Iterable[str]) -> None:
        """Listen for these apps, from now on."""
        for app_id in app_ids:
            if app_id not in self._places:
                self._places[app_id] = NOWHERE
                self._broker.open(app_id, CONTROL_CHANNEL, self)

    # --- BrokerListener ---------------------------------------------------------------------------------------------

    def place(self, app_id: str, channel: str) -> Place:
        """See `BrokerListener.place`."""
        return self._places[app_id]

    def opened(self, app_id: str, channel: str, place: Place, *, reaches: bool) -> None:
        """See `BrokerListener.opened`. At first nobody is connected: what was commanded before concerns nobody here."""
        known = self._places[app_id]
        if known.epoch == "":
            self._places[app_id] = place
        elif place.epoch != known.epoch or not reaches:
            self._give_up(app_id, place)
        elif place.offset > known.offset:
            self._catch_up(app_id)

    def published(self, app_id: str, channel: str, publication: Publication) -> None:
        """See `BrokerListener.published`."""
        known = self._places[app_id]
        if known.epoch == "" or not publication.is_durable:
            return  # `opened` comes, and covers it
        if publication.epoch != known.epoch:
            self._take(app_id, publication)
            self._give_up(app_id, self._places[app_id])
        elif publication.offset == known.offset + 1 and app_id not in self._reading:
            self._take(app_id, publication)
        elif publication.offset > known.offset:
            self._seen[app_id] = publication.offset
            self._catch_up(app_id)

    def commanded(self, app_id: str, command: Command) -> None:
        """See `BrokerListener.commanded`."""
        self._apply(app_id, command)

    # --- catching up ------------------------------------------------------------------------------------------------

    def _catch_up(self, app_id: str) -> None:
        if app_id not in self._reading:
            self._reading.add(app_id)
            after = self._places[app_id].offset
            self._broker.read_history(app_id, CONTROL_CHANNEL, after, lambda page: self._caught_up(app_id, after, page))

    def _caught_up(self, app_id: str, after: int, page: HistoryPage | None) -> None:
        self._reading.discard(app_id)
        known = self._places[app_id]
        if page is None or known.offset != after:
            return  # the broker is away and `opened` will come again, or it came with another epoch
        first = page.publications[0].offset if page.publications else page.offset + 1
        if page.epoch != known.epoch or page.offset < known.offset:
            return  # Redis has another history now; `opened` is about to tell
        for publication in page.publications:
            self._take(app_id, publication)
        if first != after + 1:
            self._give_up(app_id, Place(page.epoch, page.offset, self._places[app_id].event_id))
        elif self._places[app_id].offset < max(page.offset, self._seen.pop(app_id, 0)):
            self._catch_up(app_id)

    def _take(self, app_id: str, publication: Publication) -> None:
        self._places[app_id] = Place(publication.epoch, publication.offset, publication.header.event_id)
        try:
            command = decode_command(publication.frame)
        except (msgspec.DecodeError, msgspec.ValidationError):
            _log.warning("control.malformed_command", app=app_id, event_id=publication.header.event_id)
            return
        self._apply(app_id, command)

    def _give_up(self, app_id: str, place: Place) -> None:
        was_used = max(self._places[app_id].offset, place.offset) > 0
        _log.warning("control.commands_missed", app=app_id, epoch=place.epoch, offset=place.offset)
        self._places[app_id] = place
        self._seen.pop(app_id, None)
        self._doubt(app_id, was_used)
