"""Turns are taken while the cores are near each other, for as long as patience lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.benchmarks import machine, near_cores
from tests.benchmarks.load_client.results import Result
from tests.benchmarks.near_cores import NEAR_NS, NearCores, core_distance

NEAR, FAR = float(NEAR_NS), NEAR_NS + 1.0
ENDLESS = 1e9


def distances(*found: float) -> Callable[[], float]:
    """Says these in turn, and fails when it is asked more often."""
    left: Iterator[float] = iter(found)
    return lambda: next(left)


def turns(*outcomes: bool) -> Callable[[], Result]:
    """Results with a number each."""
    left = iter([{"ok": ok, "number": number} for number, ok in enumerate(outcomes)])
    return lambda: next(left)


@pytest.fixture(autouse=True)
def looks_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_cores, "LOOK_SECONDS", 0)


def test_a_turn_with_near_cores_counts() -> None:
    cores = NearCores(ENDLESS, distance=distances(NEAR, NEAR))
    assert cores.run(turns(True)) == {"ok": True, "number": 0}
    assert (cores.turns, cores.far_turns) == (1, 0)


def test_a_turn_waits_until_the_cores_are_near() -> None:
    cores = NearCores(ENDLESS, distance=distances(FAR, FAR, NEAR, NEAR))
    assert cores.run(turns(True))["number"] == 0
    assert cores.far_turns == 0


def test_a_turn_that_ended_with_far_cores_is_taken_again() -> None:
    cores = NearCores(ENDLESS, distance=distances(NEAR, FAR, FAR, NEAR, NEAR))
    assert cores.run(turns(True, True))["number"] == 1
    assert (cores.turns, cores.far_turns) == (1, 0)


def test_a_turn_that_found_a_fault_is_not() -> None:
    cores = NearCores(ENDLESS, distance=distances(NEAR, FAR))
    assert cores.run(turns(False, True)) == {"ok": False, "number": 0}
    assert cores.far_turns == 1


def test_without_patience_turns_are_taken_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    cores = NearCores(1e-9, distance=distances(NEAR, FAR, NEAR, FAR, FAR, NEAR))
    found = turns(True, True, True)
    assert cores.run(found)["number"] == 1, "the first took all the patience there was"
    assert "taken as they come" in capsys.readouterr().out
    assert cores.run(found)["number"] == 2
    assert (cores.turns, cores.far_turns) == (2, 1)


def test_the_distance_is_measured() -> None:
    """Of one core there is none; no two are nearer than a nanosecond or as far as 100 us."""
    found = core_distance()
    assert found == 0 if machine.SERVER_CORE == machine.CLIENT_CORE else 1 <= found < 100_000
