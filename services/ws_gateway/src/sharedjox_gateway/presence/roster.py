"""This process's copy of one channel's member list, kept in step with Redis. No I/O.

What the local subscribers were told is what stands here: every change that is returned is to be delivered to them, and
nothing else. The copy follows the announced changes by their versions. Where it cannot (the first time, after a lost
connection, after a hole) the members are read again, and the difference is what the subscribers are told.

A reading that lacks members is not believed at once when it follows an outage: those members' gateways may be about to
register them again. They are *doubtful* until a second reading, somewhat later, lacks them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Raw, Struct
from sharedjox_contracts.presence_layout import RosterEntry


class Change(Struct, frozen=True):
    """A member came (`info` is JSON) or went (`info` is None)."""

    user_id: str
    info: bytes | None


class Announcement(Struct, frozen=True):
    """A change with its place in the order of changes."""

    epoch: str
    version: int
    change: Change


class Roster:
    """Members by user id, in the order in which they came.

    `is_held` tells whether this process has a registered connection of a user: such a user is a member, whatever was
    announced while another node did not know of it; `reclaim` collects those, to be registered again.
    """

    __slots__ = ("_encoded", "_is_held", "_queue", "doubtful", "epoch", "is_current", "members", "reclaim", "version")

    def __init__(self, is_held: Callable[[str], bool]) -> None:
        self.members: dict[str, bytes] = {}
        self.epoch = ""
        self.version = 0
        self.is_current = False
        """Whether the announced changes follow on what stands here. If not, the members are to be read."""
        self.doubtful: frozenset[str] = frozenset()
        self.reclaim: set[str] = set()
        self._is_held = is_held
        self._queue: list[Announcement] = []
        self._encoded: Raw | None = None

    def suspect(self) -> None:
        """Announcements may have been missed: the members are to be read."""
        self.is_current = False

    def begin_reading(self) -> None:
        """The members are being asked for: what was announced before is in the answer, what comes now may not be."""
        self.is_current = False
        self._queue.clear()

    def announced(self, announcement: Announcement) -> list[Change]:
        """Take an announced change; returns what subscribers are to be told. `is_current` is False after a hole."""
        if not self.is_current:
            self._queue.append(announcement)
            return []
        if announcement.epoch == self.epoch and announcement.version <= self.version:
            return []
        follows = announcement.epoch == self.epoch and announcement.version == self.version + 1
        begins = announcement.epoch != self.epoch and announcement.version == 1 and not self.members
        if not follows and not begins:
            self.is_current = False
            self._queue.append(announcement)
            return []
        self.epoch, self.version = announcement.epoch, announcement.version
        return self._apply(announcement.change)

    def read(self, epoch: str, version: int, entries: Iterable[RosterEntry], *, believe_absence: bool) -> list[Change]:
        """Take the members as Redis has them; returns what subscribers are to be told.

        `believe_absence`: whoever is missing has gone. That is plain, too, of all but the doubtful ones when Redis lost
        nothing since the last time.
        """
        lost_nothing = epoch == self.epoch and version >= self.version
        found = {entry.user_id: entry.info for entry in entries}
        changes = [change for user_id, info in found.items() for change in self._apply(Change(user_id, info))]
        absent = [user_id for user_id in self.members if user_id not in found]
        self.reclaim.update(user_id for user_id in absent if self._is_held(user_id))
        gone = [user_id for user_id in absent if user_id not in self.reclaim]
        doubtful = self.doubtful if lost_nothing else frozenset(gone)
        self.doubtful = frozenset() if believe_absence else doubtful.intersection(gone)
        for user_id in gone:
            if user_id not in self.doubtful:
                changes += self._apply(Change(user_id, None))
        self.epoch, self.version, self.is_current = epoch, version, True
        queue, self._queue = self._queue, []
        for announcement in queue:
            changes += self.announced(announcement)
        return changes

    def _apply(self, change: Change) -> list[Change]:
        user_id = change.user_id
        if change.info is not None:
            if user_id in self.members:
                return []
            self.members[user_id] = change.info
        elif user_id not in self.members:
            return []
        elif self._is_held(user_id):
            self.reclaim.add(user_id)
            return []
        else:
            del self.members[user_id]
        self._encoded = None
        return [change]

    def encoded(self) -> Raw:
        """The `presence` member of an acknowledgement: `{"ids": […], "hash": {id: info}, "count": n}`."""
        if self._encoded is None:
            hashed = {user_id: Raw(info) for user_id, info in self.members.items()}
            presence = {"ids": list(hashed), "hash": hashed, "count": len(hashed)}
            self._encoded = Raw(msgspec.json.encode(presence))
        return self._encoded
