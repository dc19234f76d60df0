"""What a Pusher client believes about a presence channel, from the frames it got."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .gateway import PusherClient
from .polling import eventually

ADDED = "pusher_internal:member_added"
REMOVED = "pusher_internal:member_removed"
SUCCEEDED = "pusher_internal:subscription_succeeded"


def believed_members(client: PusherClient, channel: str) -> dict[str, Any]:
    """User id → user_info, as pusher-js would have it now.

    Strict where pusher-js is not: raises AssertionError for somebody who comes twice or goes without being there.
    """
    members: dict[str, Any] = {}
    for frame in client.frames:
        if frame.channel != channel:
            continue
        if frame.event == SUCCEEDED:
            presence = frame.data["presence"]
            assert presence["count"] == len(presence["ids"]) == len(presence["hash"])
            assert set(presence["ids"]) == set(presence["hash"])
            members = dict(presence["hash"])
        elif frame.event == ADDED:
            assert frame.data["user_id"] not in members, f"{frame.data} was announced twice: {channel}"
            members[frame.data["user_id"]] = frame.data["user_info"]
        elif frame.event == REMOVED:
            assert frame.data["user_id"] in members, f"{frame.data} went without being there: {channel}"
            del members[frame.data["user_id"]]
    return members


def announcements(client: PusherClient, channel: str) -> Counter[tuple[str, str]]:
    """How often each member was announced: (`added` or `removed`, user id) → times."""
    return Counter(
        (frame.event.rpartition("_")[2], frame.data["user_id"])
        for frame in client.frames
        if frame.channel == channel and frame.event in (ADDED, REMOVED)
    )


async def all_believe(
    clients: Iterable[PusherClient], channel: str, expected: dict[str, Any], deadline: float = 5
) -> None:
    """Wait until each of these clients believes in exactly these members."""
    for client in clients:

        def agrees(client: PusherClient = client) -> bool:
            members = believed_members(client, channel)
            assert members == expected, f"{sorted(members)}, not {sorted(expected)}"
            return True

        await eventually(agrees, deadline, what=f"{client.socket_id} knows the members of {channel}")
