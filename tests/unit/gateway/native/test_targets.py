"""The table of targets in C knows what a dict knows, and keeps nothing else alive."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sharedjox_gateway.broker import pushes
from sharedjox_gateway.broker.pushes import Targets, make_targets

TOPICS = [b"topic-%d" % number for number in range(61)]
TOPIC, OTHER = TOPICS[:2]
A_TOPIC = st.sampled_from(TOPICS)


@pytest.fixture(
    params=[False, True] if pushes._native() is not None else [False], ids=lambda native: "c" if native else "dict"
)
def use_native(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Members(dict[object, int]):
    """A dict that can be seen to be gone."""


class Target:
    """Something that can be seen to be gone, with members as a channel has them."""

    def __init__(self) -> None:
        self.members = Members({self: 0})


class LikeADict(RuleBasedStateMachine):
    """Whatever is put in, replaced and taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.targets = make_targets()
        self.known: dict[bytes, Target] = {}
        self.alive = weakref.WeakSet[Target]()
        self.alive_members: list[weakref.ref[Members]] = []

    @rule(topic=A_TOPIC)
    def put(self, topic: bytes) -> None:
        target = Target()
        target.members.clear()  # or they would be a circle, which only the collector takes apart
        self.alive.add(target)
        self.alive_members.append(weakref.ref(target.members))
        self.targets[topic] = self.known[topic] = target

    @rule(topic=A_TOPIC)
    def pop(self, topic: bytes) -> None:
        assert self.targets.pop(topic, None) is self.known.pop(topic, None)

    @rule(topics=st.lists(A_TOPIC))
    def put_many(self, topics: list[bytes]) -> None:
        for topic in topics:
            self.put(topic)

    @rule(topics=st.lists(A_TOPIC))
    def pop_many(self, topics: list[bytes]) -> None:
        for topic in topics:
            self.pop(topic)

    @invariant()
    def is_alike(self) -> None:
        for topic in TOPICS:
            assert self.targets.get(topic) is self.known.get(topic)
        assert len(self.alive) == len(self.known)
        assert sum(members() is not None for members in self.alive_members) == len(self.known)


TestLikeADict = LikeADict.TestCase


def test_ten_thousand_come_and_go(use_native: bool) -> None:
    targets = make_targets(use_native=use_native)
    for number in range(10_000):
        targets[b"private-user.%d" % number] = number
    assert [targets.get(b"private-user.%d" % number) for number in range(10_001)] == [*range(10_000), None]
    for number in range(0, 10_000, 2):
        assert targets.pop(b"private-user.%d" % number, None) == number
    found = [targets.get(b"private-user.%d" % number) for number in range(10_000)]
    assert found == [number if number % 2 else None for number in range(10_000)]


def test_what_is_unknown_is_none_or_what_was_asked_for(use_native: bool) -> None:
    targets = make_targets(use_native=use_native)
    for _ in range(2):
        assert targets.get(b"unknown") is None
        assert targets.pop(b"unknown", "otherwise") == "otherwise"
        targets[TOPIC] = "known"


def test_only_bytes_are_topics() -> None:
    targets = make_targets()
    if isinstance(targets, dict):
        return
    wrong: Any = "text"
    with pytest.raises(TypeError):
        targets.get(wrong)
    with pytest.raises(TypeError):
        targets.pop(wrong, None)
    with pytest.raises(TypeError):
        targets[wrong] = 1


def targets_holder(targets: Targets) -> object:
    """Something that keeps the table."""
    return lambda: targets


def test_targets_that_know_the_table_are_freed_with_it(use_native: bool) -> None:
    targets, target = make_targets(use_native=use_native), Target()
    gone, members_gone = weakref.ref(target), weakref.ref(target.members)
    target.members[targets_holder(targets)] = 1
    targets[TOPIC] = target
    del targets, target
    gc.collect()
    assert (gone(), members_gone()) == (None, None)


def test_a_target_may_change_the_table_while_it_is_released(use_native: bool) -> None:
    targets = make_targets(use_native=use_native)

    class Meddler:
        def __del__(self) -> None:
            for number in range(100):
                targets[b"new-%d" % number] = number

    targets[TOPIC] = Meddler()
    targets[TOPIC] = "after"
    assert (targets.get(TOPIC), targets.get(b"new-99")) == ("after", 99)
    targets[OTHER] = Meddler()
    targets.pop(OTHER, None)
    assert (targets.get(TOPIC), targets.get(OTHER)) == ("after", None)
