"""What is known of channels over the whole cluster: counts, presence users, cached events; and the GET endpoints.

Source: Pusher Channels, "HTTP API: GET channels, GET channel, GET users", and its deprecated "channel stats".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from sharedjox_contracts.channels import ChannelKind, channel_kind, is_valid_channel_name

from sharedjox_gateway.apps import App
from sharedjox_gateway.cache import CachedEvents
from sharedjox_gateway.counts import Counts

from .events import read_info
from .exchange import Answer, RefusedError, json_answer

PRESENCE_PREFIX: Final = ChannelKind.PRESENCE.value


class PresenceDirectory(Protocol):
    """Who is on presence channels, over the cluster. Raises: OSError while Redis is away."""

    async def users(self, app_id: str, channel: str) -> list[str]:
        """The distinct user ids on a channel."""
        ...

    async def user_counts(self, app_id: str, channels: list[str]) -> list[int]:
        """How many distinct users are on each channel."""
        ...


class ChannelDirectory:
    """Answers questions about channels. Raises: OSError while Redis is away."""

    def __init__(self, counts: Counts, cached: CachedEvents, presence: PresenceDirectory) -> None:
        self._counts = counts
        self._cached = cached
        self._presence = presence

    async def attributes(self, app: App, channel: str, wanted: tuple[str, ...]) -> dict[str, Any]:
        """The attributes of one channel, in the order asked for."""
        found: dict[str, Any] = {}
        for attribute in wanted:
            if attribute == "user_count":
                (found[attribute],) = await self._presence.user_counts(app.id, [channel])
            elif attribute == "subscription_count":
                (found[attribute],) = await self._counts.totals(app.id, [channel])
            else:
                found[attribute] = await self._cached.info(app.id, channel)
        return found

    # --- endpoints --------------------------------------------------------------------------------------------------

    async def channels(self, app: App, parameters: Mapping[str, str]) -> Answer:
        """`GET /channels`: those with at least one subscriber."""
        prefix = parameters.get("filter_by_prefix", "")
        wanted = read_info(parameters.get("info", ""))
        if "cache" in wanted:
            raise RefusedError(400, "The cache attribute is for one channel: GET /channels/{name}?info=cache")
        if "user_count" in wanted and not prefix.startswith(PRESENCE_PREFIX):
            raise RefusedError(
                400, "user_count is for presence channels: add filter_by_prefix=presence- (or a longer one)"
            )
        totals = await self._counts.occupied(app.id, prefix)
        listed: dict[str, dict[str, int]] = {name: {} for name in sorted(totals)}
        if "user_count" in wanted:
            names = list(listed)
            for name, users in zip(names, await self._presence.user_counts(app.id, names), strict=True):
                listed[name]["user_count"] = users
        if "subscription_count" in wanted:
            for name, attributes in listed.items():
                attributes["subscription_count"] = totals[name]
        return json_answer({"channels": listed})

    async def channel(self, app: App, name: str, parameters: Mapping[str, str]) -> Answer:
        """`GET /channels/{name}`."""
        kind = _check_name(app, name)
        wanted = read_info(parameters.get("info", ""))
        if "user_count" in wanted and not kind.is_presence:
            raise RefusedError(400, f"user_count is for presence channels, {name!r} is none")
        if "cache" in wanted and not kind.is_cache:
            raise RefusedError(400, f"The cache attribute is for cache channels, {name!r} is none")
        if kind.is_presence:
            wanted = tuple(attribute for attribute in wanted if attribute != "subscription_count")
        (total,) = await self._counts.totals(app.id, [name])
        return json_answer({"occupied": total > 0, **await self.attributes(app, name, wanted)})

    async def users(self, app: App, name: str) -> Answer:
        """`GET /channels/{name}/users`."""
        if not _check_name(app, name).is_presence:
            raise RefusedError(400, f"Users can be listed for presence channels only, {name!r} is none")
        users = await self._presence.users(app.id, name)
        return json_answer({"users": [{"id": user} for user in users]})

    async def stats(self, app: App, name: str) -> Answer:
        """`GET /channels/{name}/stats` (deprecated 2012)."""
        kind = _check_name(app, name)
        (total,) = await self._counts.totals(app.id, [name])
        found: dict[str, Any] = {"occupied": total > 0}
        if kind.is_presence:
            found |= await self.attributes(app, name, ("user_count",))
        return json_answer({**found, "connection_count": total})

    async def connections(self, app: App) -> Answer:
        """`GET /connections`, Reverb's own."""
        return json_answer({"connections": await self._counts.connections(app.id)})


def _check_name(app: App, name: str) -> ChannelKind:
    if not is_valid_channel_name(name, max_length=app.limits.max_channel_name_length):
        raise RefusedError(400, f"Invalid channel name {name[:200]!r}")
    return channel_kind(name)
