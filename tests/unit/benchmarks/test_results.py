"""Windows of a benchmark taken as one, and the priority that some of them run with."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import Any

import pytest

from tests.benchmarks import machine
from tests.benchmarks.load_client.results import for_report, merged, summarized
from tests.support.polling import eventually

MS = 1_000_000


def window(buckets: list[tuple[int, int]], seconds: float = 1.0, **changed: Any) -> dict[str, Any]:
    histogram = summarized({"largest": max((top for top, _ in buckets), default=0), "buckets": buckets})
    counted = sum(number for _, number in buckets)
    whole: dict[str, Any] = {
        "ok": True, "seconds": seconds, "published": 40, "published_per_second": 40 / seconds,
        "deliveries": counted, "deliveries_per_second": counted / seconds, "expected": counted, "received": counted,
        "bytes": 300 * counted, "churned": 0, "missing": 0, "doubled": 0, "swapped": 0, "closed": 0, "refused": 0,
        "latency": histogram, "probe": summarized({"largest": 0, "buckets": []}),
        "server_cores": 0.2, "server_user_cores": 0.1, "foreign_cores": 0.0,
    }  # fmt: skip
    return whole | changed


def test_percentiles_are_the_tops_of_their_buckets_and_none_exceeds_the_largest() -> None:
    found = summarized({"largest": 7 * MS, "buckets": [(1 * MS, 50), (2 * MS, 48), (3 * MS, 1), (8 * MS, 1)]})
    assert found["count"] == 100
    assert (found["p50_ms"], found["p99_ms"], found["p999_ms"], found["max_ms"]) == (2, 7, 7, 7)
    assert summarized({"largest": 9 * MS, "buckets": [(1 * MS, 99), (9 * MS, 1)]})["p50_ms"] == 1


def test_nothing_heard_has_percentiles_of_zero() -> None:
    found = summarized({"largest": 0, "buckets": []})
    assert (found["count"], found["p50_ms"], found["p99_ms"], found["max_ms"]) == (0, 0, 0, 0)


def test_the_percentile_of_two_windows_is_not_the_mean_of_theirs() -> None:
    """A hundredth of all messages is the slow tenth of the second window."""
    whole = merged([window([(1 * MS, 900)]), window([(1 * MS, 90), (9 * MS, 10)])])
    assert whole["latency"]["count"] == 1000
    assert (whole["latency"]["p50_ms"], whole["latency"]["p99_ms"], whole["latency"]["max_ms"]) == (1, 9, 9)


def test_counts_add_up_and_shares_are_by_time() -> None:
    first, second = window([(MS, 100)], 1.0, server_cores=0.4, missing=1), window([(MS, 500)], 3.0, server_cores=0.2)
    whole = merged([first, second])
    assert (whole["seconds"], whole["deliveries"], whole["deliveries_per_second"]) == (4, 600, 150)
    assert (whole["published"], whole["published_per_second"], whole["missing"]) == (80, 20, 1)
    assert whole["server_cores"] == pytest.approx(0.25)


@pytest.mark.parametrize("at", [0, 1])
def test_a_window_that_failed_fails_the_whole(at: int) -> None:
    parts = [window([(MS, 10)]), window([(MS, 10)])]
    assert merged(parts)["ok"]
    parts[at]["ok"] = False
    assert not merged(parts)["ok"]


def test_a_report_has_percentiles_and_no_buckets() -> None:
    shown = for_report(merged([window([(MS, 10)])]))
    assert shown["latency"] == {"count": 10, "largest": MS, "max_ms": 1, "p50_ms": 1, "p99_ms": 1, "p999_ms": 1}
    assert shown["ok"]


def test_undisturbed_processes_get_their_scheduler_back() -> None:
    """All threads of it; where real time is not allowed, nothing changes and nothing fails."""
    done, ready = threading.Event(), threading.Event()
    found: list[int] = []

    def wait() -> None:
        found.append(threading.get_native_id())
        ready.set()
        done.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait()
    try:
        before = os.sched_getscheduler(found[0])
        with machine.undisturbed([os.getpid()]):
            inside = {os.sched_getscheduler(each) for each in (found[0], threading.get_native_id())}
        assert inside == {os.SCHED_RR if may_be_real_time() else before}
        assert {os.sched_getscheduler(each) for each in (found[0], threading.get_native_id())} == {before}
    finally:
        done.set()
        thread.join()


async def test_cores_are_kept_awake_by_processes_that_run_only_when_nothing_else_does() -> None:
    others = set(machine.children(os.getpid()))
    with machine.undisturbed([]):
        idlers = set(machine.children(os.getpid())) - others
        assert len(idlers) == len({machine.SERVER_CORE, machine.CLIENT_CORE})
        await eventually(lambda: all(os.sched_getscheduler(each) == os.SCHED_IDLE for each in idlers))
        await eventually(
            lambda: (
                {next(iter(os.sched_getaffinity(each))) for each in idlers}
                == {machine.SERVER_CORE, machine.CLIENT_CORE}
            )
        )
    assert not set(machine.children(os.getpid())) & idlers


def may_be_real_time() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def test_a_process_that_has_ended_disturbs_nobody() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    with machine.undisturbed([child.pid]):
        pass
