"""The collector sees what is new and nothing else; what became a cycle later is found when tidying."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from sharedjox_gateway.collector import FEW_CONNECTIONS, TIDY_BUSY_SECONDS, TIDY_SECONDS, Collector


class Node:
    """May refer to itself."""

    other: Node | None = None


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector(0.0)
    made.install()
    yield made
    made.uninstall()


def cycle() -> weakref.ref[Node]:
    node = Node()
    node.other = node
    return weakref.ref(node)


def test_new_garbage_is_collected(collector: Collector) -> None:
    garbage = cycle()
    gc.collect(0)
    assert garbage() is None


def test_survivors_are_frozen_and_still_freed_by_their_last_reference(collector: Collector) -> None:
    survivor: Node | None = Node()
    gone = weakref.ref(survivor) if survivor else None
    gc.collect(0)
    assert not any(each is survivor for each in gc.get_objects())
    survivor = None
    assert gone is not None
    assert gone() is None


def test_a_cycle_among_frozen_objects_is_found_by_tidying(collector: Collector) -> None:
    node = Node()
    late = weakref.ref(node)
    gc.collect(0)
    node.other = node
    del node
    gc.collect(0)
    assert late() is not None
    assert collector.tidy(1.0) >= 1
    assert late() is None
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize(
    ("connections", "after", "is_tidied"),
    [
        (FEW_CONNECTIONS, TIDY_SECONDS - 1, False),
        (FEW_CONNECTIONS, TIDY_SECONDS, True),
        (FEW_CONNECTIONS + 1, TIDY_SECONDS, False),
        (FEW_CONNECTIONS + 1, TIDY_BUSY_SECONDS, True),
    ],
)
def test_tidying_is_rare_while_it_would_stop_many(
    collector: Collector, connections: int, after: float, is_tidied: bool
) -> None:
    node = Node()
    late = weakref.ref(node)
    gc.collect(0)
    node.other = node
    del node
    collector.tick(after, connections)
    assert (late() is None) == is_tidied


def test_uninstalled_the_interpreter_has_its_own_ways_again() -> None:
    before, callbacks = gc.get_threshold(), list(gc.callbacks)
    collector = Collector(0.0)
    collector.install()
    collector.uninstall()
    assert gc.get_threshold() == before
    assert gc.callbacks == callbacks
    assert gc.get_freeze_count() == 0
