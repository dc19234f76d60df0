"""The copy of a member list: what subscribers are told is always the difference to what they were told before."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from sharedjox_contracts.presence_layout import RosterEntry
from sharedjox_gateway.presence.roster import Announcement, Change, Roster

NODE = frozenset({"node"})


def came(epoch: str, version: int, user_id: str) -> Announcement:
    return Announcement(epoch, version, Change(user_id, b"null"))


def went(epoch: str, version: int, user_id: str) -> Announcement:
    return Announcement(epoch, version, Change(user_id, None))


def entries(*user_ids: str) -> list[RosterEntry]:
    return [RosterEntry(user_id, b"null", NODE) for user_id in user_ids]


def a_roster(*user_ids: str, epoch: str = "e", version: int = 10, held: frozenset[str] = frozenset()) -> Roster:
    roster = Roster(held.__contains__)
    roster.begin_reading()
    roster.read(epoch, version, entries(*user_ids), believe_absence=True)
    return roster


def test_what_was_read_already_is_not_announced_again() -> None:
    roster = a_roster("a", version=10)
    assert roster.announced(came("e", 10, "a")) == []
    assert roster.announced(came("e", 11, "b")) == [Change("b", b"null")]
    assert roster.announced(came("e", 11, "b")) == []
    assert roster.announced(went("e", 12, "a")) == [Change("a", None)]
    assert list(roster.members) == ["b"]


def test_announcements_during_a_reading_follow_it_in_order() -> None:
    roster = Roster(lambda _user: False)
    roster.begin_reading()
    for announcement in (came("e", 3, "c"), went("e", 4, "a"), came("e", 5, "d")):
        assert roster.announced(announcement) == []
    changes = roster.read("e", 4, entries("b", "c"), believe_absence=True)
    assert changes == [Change("b", b"null"), Change("c", b"null"), Change("d", b"null")]
    assert roster.is_current
    assert roster.version == 5


def test_a_hole_asks_for_a_reading_and_nothing_is_told_until_then() -> None:
    roster = a_roster("a", version=10)
    assert roster.announced(came("e", 12, "c")) == []
    assert not roster.is_current
    assert roster.announced(came("e", 13, "d")) == []
    roster.begin_reading()
    changes = roster.read("e", 13, entries("b", "c", "d"), believe_absence=False)
    assert sorted(changes, key=lambda change: change.user_id) == [
        Change("a", None),
        Change("b", b"null"),
        Change("c", b"null"),
        Change("d", b"null"),
    ]


def test_a_channel_that_begins_anew_is_followed_without_a_reading() -> None:
    roster = a_roster("a", version=10)
    assert roster.announced(went("e", 11, "a")) == [Change("a", None)]
    assert roster.announced(came("other", 1, "b")) == [Change("b", b"null")]
    assert roster.is_current


def test_absence_after_a_loss_is_doubtful_until_it_is_confirmed() -> None:
    roster = a_roster("a", "b", version=10)
    roster.begin_reading()
    assert roster.read("new", 1, entries("b"), believe_absence=False) == []
    assert roster.doubtful == {"a"}
    assert roster.announced(came("new", 2, "a")) == [], "it was never said to have gone"
    roster.begin_reading()
    assert roster.read("new", 2, entries("a", "b"), believe_absence=True) == []
    assert not roster.doubtful


def test_reading_again_is_no_confirmation_by_itself() -> None:
    roster = a_roster("a", "b", "c", version=10)
    for version in (1, 2):  # after a loss everything is read more than once: for the lease, for the channel, for a hole
        roster.begin_reading()
        assert roster.read("new", version, entries("b"), believe_absence=False) == []
        assert roster.doubtful == {"a", "c"}
    roster.announced(went("new", 3, "b"))
    roster.begin_reading()
    assert roster.read("new", 4, entries("a"), believe_absence=False) == []
    assert roster.doubtful == {"c"}


def test_confirmed_absence_is_told() -> None:
    roster = a_roster("a", "b")
    for believe in (False, True):
        roster.begin_reading()
        changes = roster.read("new", 1, entries("b"), believe_absence=believe)
    assert changes == [Change("a", None)]


def test_redis_older_than_the_copy_is_no_proof_of_absence() -> None:
    roster = a_roster("a", "b", version=10)
    roster.begin_reading()
    assert roster.read("e", 9, entries("a"), believe_absence=False) == []
    assert roster.doubtful == {"b"}


def test_whoever_is_held_here_is_reclaimed_and_never_said_to_have_gone() -> None:
    roster = a_roster("mine", "other", held=frozenset({"mine"}))
    assert roster.announced(went("e", 11, "mine")) == []
    assert roster.reclaim == {"mine"}
    assert roster.announced(came("e", 12, "mine")) == []
    roster.reclaim.clear()
    roster.begin_reading()
    assert roster.read("e", 13, entries(), believe_absence=True) == [Change("other", None)]
    assert roster.reclaim == {"mine"}
    assert list(roster.members) == ["mine"]


def test_the_encoded_roster_has_the_documented_form_and_follows_changes() -> None:
    roster = a_roster("7")
    roster.announced(Announcement("e", 11, Change("8", b'{"name": "Ada"}')))
    assert msgspec.json.decode(roster.encoded()) == {
        "ids": ["7", "8"],
        "hash": {"7": None, "8": {"name": "Ada"}},
        "count": 2,
    }
    assert roster.encoded() is roster.encoded()
    roster.announced(went("e", 12, "7"))
    assert msgspec.json.decode(roster.encoded())["ids"] == ["8"]


# --- against a model --------------------------------------------------------------------------------------------------


@dataclass
class Truth:
    """The member list in Redis and the announcements that are on their way."""

    members: list[str] = field(default_factory=list)
    lives: int = 0
    version: int = 0
    under_way: list[Announcement] = field(default_factory=list)

    @property
    def epoch(self) -> str:
        return f"epoch-{self.lives}"

    def toggle(self, user_id: str) -> None:
        if not self.members:
            self.lives, self.version = self.lives + 1, 0
        self.version += 1
        if user_id in self.members:
            self.members.remove(user_id)
            self.under_way.append(went(self.epoch, self.version, user_id))
        else:
            self.members.append(user_id)
            self.under_way.append(came(self.epoch, self.version, user_id))

    def forget(self) -> None:
        """Redis lost everything; nobody is told."""
        self.members.clear()
        self.under_way.clear()


STEPS = st.lists(
    st.one_of(
        st.sampled_from("abcd").map(lambda user: ("toggle", user)),
        st.sampled_from([("hear", ""), ("hear", ""), ("read", ""), ("lose", ""), ("forget", "")]),
    ),
    max_size=60,
)


class Subscriber:
    """Believes what it is told, strictly, by a roster that hears of the truth."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.roster = Roster(lambda _user: False)
        self.told: set[str] = set()
        self.readings = 0

    def tell(self, changes: list[Change]) -> None:
        for change in changes:
            assert (change.user_id in self.told) is (change.info is None), "came twice, or went without being there"
            (self.told.discard if change.info is None else self.told.add)(change.user_id)
        assert self.told == set(self.roster.members)

    def hear(self) -> None:
        if self.truth.under_way:
            self.tell(self.roster.announced(self.truth.under_way.pop(0)))

    def read(self, *, believe: bool = False) -> None:
        truth, self.readings = self.truth, self.readings + 1
        self.roster.begin_reading()
        epoch, version = (truth.epoch, truth.version) if truth.members else (f"candidate-{self.readings}", 0)
        self.tell(self.roster.read(epoch, version, entries(*truth.members), believe_absence=believe))

    def lose(self) -> None:
        """The connection broke: what was under way never comes, and the next thing is a reading."""
        self.truth.under_way.clear()
        self.roster.suspect()
        self.read()

    def take(self, step: str, user_id: str) -> None:
        match step:
            case "toggle":
                self.truth.toggle(user_id)
            case "hear":
                self.hear()
            case "read":
                self.read()
            case "lose":
                self.lose()
            case "forget":
                self.truth.forget()
                self.lose()


@settings(max_examples=500, deadline=None)
@given(STEPS)
def test_subscribers_hear_of_nobody_twice_and_end_with_the_truth(steps: list[tuple[str, str]]) -> None:
    subscriber = Subscriber(Truth())
    subscriber.read(believe=True)
    for step, user_id in steps:
        subscriber.take(step, user_id)
    while subscriber.truth.under_way:
        subscriber.hear()
    if not subscriber.roster.is_current or subscriber.roster.doubtful:
        subscriber.read(believe=True)
    assert subscriber.told == set(subscriber.truth.members)
