"""What the load client counted: percentiles of its histograms, and several windows taken as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

Result = dict[str, Any]
Buckets = Sequence[tuple[int, int]]
"""Of a histogram: the largest value of a bucket in ns, and how many fell into it; rising, the empty ones left out."""

HISTOGRAMS: Final = ("latency", "probe")
PERCENTILES: Final = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
SUMS: Final = (
    "seconds", "published", "deliveries", "expected", "received", "bytes", "churned",
    "missing", "doubled", "swapped", "closed", "refused",
)  # fmt: skip
SHARES: Final = ("published_per_second", "server_cores", "server_user_cores", "foreign_cores")
"""Averages over a window."""


def summarized(histogram: Result) -> Result:
    """A histogram `{"largest": ns, "buckets": Buckets}` with its count and percentiles, all 0 when it is empty.

    A percentile is the largest value of its bucket, 1.6 % too much at worst, and never more than the largest of all.
    """
    buckets: Buckets = histogram["buckets"]
    largest: int = histogram["largest"]
    count = sum(number for _, number in buckets)
    found: Result = {"count": count, "largest": largest, "buckets": buckets, "max_ms": largest / 1e6}
    for name, share in PERCENTILES.items():
        found[name] = min(_at(buckets, int(count * share)), largest) / 1e6
    return found


def _at(buckets: Buckets, rank: int) -> int:
    seen = 0
    for top, number in buckets:
        seen += number
        if seen > rank:
            return top
    return 0


def merged(parts: Sequence[Result]) -> Result:
    """Several windows of one scenario as one: counts added up, histograms laid over each other, shares by time.

    A message lost in one of them is lost in the whole.
    """
    seconds = sum(part["seconds"] for part in parts)
    whole: Result = {"ok": all(part["ok"] for part in parts)}
    whole |= {name: sum(part[name] for part in parts) for name in SUMS}
    whole |= {name: sum(part[name] * part["seconds"] for part in parts) / seconds for name in SHARES}
    whole["deliveries_per_second"] = whole["deliveries"] / seconds
    for name in HISTOGRAMS:
        whole[name] = summarized(_overlaid(part[name] for part in parts))
    return whole


def _overlaid(histograms: Iterable[Result]) -> Result:
    counts: Counter[int] = Counter()
    largest = 0
    for histogram in histograms:
        largest = max(largest, histogram["largest"])
        for top, number in histogram["buckets"]:
            counts[top] += number
    return {"largest": largest, "buckets": sorted(counts.items())}


def for_report(result: Result) -> Result:
    """Without the buckets, of which a run has ten thousands."""
    return {
        name: {key: each for key, each in value.items() if key != "buckets"} if name in HISTOGRAMS else value
        for name, value in result.items()
    }
