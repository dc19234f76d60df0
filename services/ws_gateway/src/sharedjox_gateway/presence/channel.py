"""One presence channel as this process serves it: who is here, what Redis was told of them, who waits for an answer.

A user is registered with Redis when the first connection here joins and given up when the last one leaves. Changes of
one loop turn leave as one script call. A join is answered when the user stands in this process's copy of the roster:
the acknowledgement shows that copy, and every later change of it is delivered, so nothing is told twice or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sharedjox_contracts.presence_layout import JOIN, KEEP, LEAVE

from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.hub.channel import Channel

from .member import PresenceMember
from .roster import Announcement, Change, Roster
from .store import Operation, Outcome, PresenceStore

Answer = Callable[[bool], None]
"""Called once with whether the join was accepted (False: the channel is full)."""


class HeldUser:
    """A user with at least one connection here."""

    __slots__ = ("connections", "info", "is_registered", "user_id", "waiting")

    def __init__(self, member: PresenceMember) -> None:
        self.user_id = member.user_id
        self.info = member.info
        self.connections: set[Connection] = set()
        self.is_registered = False
        """Whether Redis has accepted the user from this node."""
        self.waiting: list[tuple[Connection, Answer]] = []


class PresenceChannel:
    """See the module's docstring.

    `deliver` tells the local subscribers of a change; `soon` runs a function on the loop's next turn, `later` when a
    doubtful roster is to be read again; `met` hears which nodes hold members here.
    """

    def __init__(
        self,
        channel: Channel,
        store: PresenceStore,
        *,
        deliver: Callable[[Channel, Change], None],
        soon: Callable[[Callable[[], None]], object],
        later: Callable[[Callable[[], None]], object],
        met: Callable[[PresenceChannel, Iterable[str]], None],
    ) -> None:
        self.channel = channel
        self.roster = Roster(self._is_registered)
        self._store = store
        self._deliver = deliver
        self._soon = soon
        self._later = later
        self._met = met
        self._held: dict[str, HeldUser] = {}
        self._users: dict[Connection, str] = {}
        self._waiting: dict[str, HeldUser] = {}
        self._operations: list[tuple[Operation, HeldUser | None]] = []
        self._is_scheduled = False
        self._is_noted = False
        self._is_verifying = False
        self.is_behind = False
        """Whether Redis may not know what it should; the next `sync` that succeeds makes that good."""
        self._reading: object | None = None

    def user_of(self, connection: Connection) -> str | None:
        """As whom a connection is (or wants to be) here."""
        return self._users.get(connection)

    def connections_of(self, user_id: str) -> list[Connection]:
        """The connections here of one user."""
        held = self._held.get(user_id)
        return list(held.connections) if held is not None else []

    @property
    def is_held(self) -> bool:
        """Whether anybody is here."""
        return bool(self._held)

    def _is_registered(self, user_id: str) -> bool:
        held = self._held.get(user_id)
        return held is not None and held.is_registered

    # --- coming and going -------------------------------------------------------------------------------------------

    def join(self, connection: Connection, member: PresenceMember, answer: Answer) -> None:
        """Let a connection in as a member; `answer` follows now or later, unless the connection leaves first."""
        if self._users.get(connection, member.user_id) != member.user_id:
            self.leave(connection)
        held = self._held.get(member.user_id)
        if held is None:
            held = self._held[member.user_id] = HeldUser(member)
            self._ask(Operation(JOIN, member.user_id, member.info), held)
        held.connections.add(connection)
        self._users[connection] = member.user_id
        if held.is_registered and self._shows(member.user_id):
            answer(True)
        else:
            held.waiting.append((connection, answer))
            self._waiting[member.user_id] = held

    def leave(self, connection: Connection) -> None:
        """Take a connection out, joined or still waiting; harmless when it is not here."""
        user_id = self._users.pop(connection, None)
        if user_id is None:
            return
        held = self._held[user_id]
        held.connections.discard(connection)
        held.waiting = [waiting for waiting in held.waiting if waiting[0] is not connection]
        if not held.connections:
            self._forget(held)
            self._ask(Operation(LEAVE, user_id), None)

    def _forget(self, held: HeldUser) -> None:
        self._held.pop(held.user_id, None)
        self._waiting.pop(held.user_id, None)
        for connection in held.connections:
            self._users.pop(connection, None)

    # --- telling Redis ----------------------------------------------------------------------------------------------

    def _ask(self, operation: Operation, held: HeldUser | None) -> None:
        self._operations.append((operation, held))
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        asked, self._operations = self._operations, []
        reads = not self.roster.is_current and self._reading is None
        if asked or reads:
            self._send(asked, snapshot=reads)

    def sync(self, *, believe_absence: bool = False) -> None:
        """Register everything anew and read the members: after an outage, a lost lease, and now and then."""
        self._operations = []  # the present state says it all
        self._is_noted = False
        asked: list[tuple[Operation, HeldUser | None]] = [
            (Operation(KEEP if held.is_registered else JOIN, user_id, self._info_of(held)), held)
            for user_id, held in self._held.items()
        ]
        self._send(asked, snapshot=True, exact=True, believe_absence=believe_absence)

    def _info_of(self, held: HeldUser) -> bytes:
        """What the others know of a user; tabs may differ, the first one counts."""
        return self.roster.members.get(held.user_id, held.info)

    def _send(
        self,
        asked: list[tuple[Operation, HeldUser | None]],
        *,
        snapshot: bool,
        exact: bool = False,
        believe_absence: bool = False,
    ) -> None:
        app_id, name = self.channel.app_id, self.channel.name
        token = object() if snapshot else None
        if token is not None:
            self.roster.begin_reading()
            self._reading = token
        if self._held and not self._is_noted:
            self._store.hold(app_id, name)
            self._is_noted = True

        def changed(outcome: Outcome | None) -> None:
            reads = token is not None and token is self._reading
            if reads:
                self._reading = None
            if outcome is None:
                self.is_behind = True
            else:
                self.is_behind = self.is_behind and not exact
                self._changed(asked, outcome, reads=reads, believe_absence=believe_absence)

        operations = [operation for operation, _held in asked]
        if not self._store.change(app_id, name, operations, changed, snapshot=snapshot, exact=exact):
            self._reading = None  # `sync` comes with the next connection
            self.is_behind = True
        elif self._is_noted and not self._held:
            self._store.release(app_id, name)
            self._is_noted = False

    def _changed(
        self, asked: list[tuple[Operation, HeldUser | None]], outcome: Outcome, *, reads: bool, believe_absence: bool
    ) -> None:
        refused = []
        for (_operation, held), accepted in zip(asked, outcome.accepted, strict=True):
            if held is None or self._held.get(held.user_id) is not held:
                continue
            if accepted:
                held.is_registered = True
            else:
                refused.append(held)
        if reads and outcome.members is not None:
            self._tell(
                self.roster.read(outcome.epoch, outcome.version, outcome.members, believe_absence=believe_absence)
            )
            self._met(self, {node for entry in outcome.members for node in entry.nodes})
            if self.roster.doubtful and not self._is_verifying:
                self._is_verifying = True
                self._later(self._verify)
        for held in refused:
            self._forget(held)
            for _connection, answer in held.waiting:
                answer(False)
        self._settle(None if reads else [held.user_id for _operation, held in asked if held is not None])

    def _verify(self) -> None:
        self._is_verifying = False
        if self.roster.doubtful:
            self.sync(believe_absence=True)

    # --- hearing of changes -----------------------------------------------------------------------------------------

    def announced(self, announcement: Announcement) -> None:
        """Take a change that some node announced."""
        self._tell(self.roster.announced(announcement))
        self._settle((announcement.change.user_id,))

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            self._deliver(self.channel, change)

    def _shows(self, user_id: str) -> bool:
        return self.roster.is_current and user_id in self.roster.members

    def _settle(self, user_ids: Iterable[str] | None = None) -> None:
        """Answer whoever (of these) can be answered; win back members taken for gone by others; read what is open."""
        for user_id in list(self._waiting) if user_ids is None else user_ids:
            held = self._waiting.get(user_id)
            if held is not None and held.is_registered and self._shows(user_id):
                del self._waiting[user_id]
                waiting, held.waiting = held.waiting, []
                for _connection, answer in waiting:
                    answer(True)
        reclaim, self.roster.reclaim = self.roster.reclaim, set()
        for user_id in reclaim:
            if self._is_registered(user_id):
                held = self._held[user_id]
                self._ask(Operation(KEEP, user_id, self._info_of(held)), held)
        if not self.roster.is_current and self._reading is None:
            self._schedule()
