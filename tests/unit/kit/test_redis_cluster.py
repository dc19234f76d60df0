"""Whom to believe about the slots of a Redis Cluster."""

from __future__ import annotations

from typing import Any

from sharedjox_kit.redis_cluster import SLOTS, Topology, newest, read_topology

ASKED = ("asked", 7000)
INFO = b"cluster_state:%b\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:%d\r\n"


def answer(*ranges: Any, state: bytes = b"ok", epoch: int = 1) -> Topology:
    return read_topology(list(ranges), INFO % (state, epoch), ASKED)


def test_ranges_masters_and_replicas_are_read() -> None:
    found = answer(
        [8000, 16383, [b"two", 2, b"id-2", []]],
        [0, 7999, [b"one", 1, b"id-1"], [b"three", 3, b"id-3"]],
        epoch=7,
    )
    assert found.masters == {("one", 1), ("two", 2)}
    assert found.replicas == {("three", 3)}
    assert (found.slots, found.epoch, found.is_whole) == (SLOTS, 7, True)
    assert [found.owner(slot) for slot in (0, 7999, 8000, 16383)] == [("one", 1)] * 2 + [("two", 2)] * 2


def test_slots_that_nobody_serves() -> None:
    found = answer([100, 199, [b"one", 1]], [300, 300, [b"one", 1]], state=b"fail")
    assert [found.owner(slot) for slot in (99, 100, 199, 200, 299, 300, 301)] == [
        *(None, ("one", 1), ("one", 1), None, None, ("one", 1), None)
    ]
    assert (found.slots, found.is_whole) == (101, False)
    assert answer().owner(0) is None


def test_a_node_without_a_name_is_where_it_was_asked() -> None:
    for unnamed in (b"", None, b"?"):
        assert answer([0, 1, [unnamed, 7001]]).masters == {("asked", 7001)}


def test_the_newest_epoch_counts_but_not_of_a_node_that_is_cut_off() -> None:
    old, new = answer([0, 9, [b"old", 1]], epoch=3), answer([0, 9, [b"new", 1]], epoch=4)
    cut_off = answer([0, 9, [b"cut", 1]], epoch=9, state=b"fail")
    assert newest([None, old, cut_off, new]) is new
    assert newest([None, cut_off]) is cut_off
    assert newest([None]) is None
