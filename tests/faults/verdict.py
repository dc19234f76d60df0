"""What a client saw against what was committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .recovering_client import RecoveringClient, Seen


@dataclass(slots=True)
class Verdict:
    """Sums over clients and channels; only `events`, `deliveries`, `repeats` and `told_lost` may be more than 0.

    `lost` are events that a client neither got nor was told to have missed; `told` those between two stretches.
    """

    events: int = 0
    deliveries: int = 0
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    leaked: int = 0
    told: int = 0
    told_lost: int = 0
    repeats: int = 0
    jumps: int = 0
    reconnects: int = 0
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """All counts by name."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "problems"}


def judge(clients: Iterable[RecoveringClient], committed: dict[str, list[str]]) -> Verdict:
    """Compare every client with the commit order of each of its channels (event ids)."""
    verdict = Verdict(events=sum(len(ids) for ids in committed.values()))
    places = {channel: {event: place for place, event in enumerate(ids)} for channel, ids in committed.items()}
    for number, client in enumerate(clients):
        verdict.reconnects += max(0, client.connects - 1)
        verdict.leaked += len(client.foreign)
        verdict.problems += [f"client {number} got {name}" for name in sorted(set(client.foreign))]
        for channel, seen in client.seen.items():
            before = (verdict.lost, verdict.doubled, verdict.out_of_order, verdict.leaked, verdict.jumps)
            _add(verdict, seen, places[channel])
            after = (verdict.lost, verdict.doubled, verdict.out_of_order, verdict.leaked, verdict.jumps)
            if after != before:
                counts = [late - early for early, late in zip(before, after, strict=True)]
                verdict.problems.append(
                    f"client {number} ({client.recovery.value}) on {channel}: "
                    "{} lost, {} doubled, {} out of order, {} unknown, {} jumps".format(*counts)
                )
    return verdict


def _add(verdict: Verdict, seen: Seen, places: dict[str, int]) -> None:
    ids = seen.ids
    known = [places[event] for event in ids if event in places]
    verdict.deliveries += len(ids)
    verdict.leaked += len(ids) - len(known)
    verdict.doubled += len(ids) - len(set(ids))
    verdict.out_of_order += sum(later < earlier for earlier, later in pairwise(known))
    verdict.jumps += seen.jumps
    verdict.repeats += seen.repeats
    verdict.told_lost += seen.told_lost
    missing = set(range(len(places))) - set(known)
    told = missing & _told(seen, places)
    verdict.told += len(told)
    verdict.lost += len(missing) - len(told)


def _told(seen: Seen, places: dict[str, int]) -> set[int]:
    """Places between two stretches: a client was told that these may be missing. What is missing at the end is lost."""
    told: set[int] = set()
    ended = -1
    for number, stretch in enumerate(seen.stretches):
        here = [places[event] for event in stretch if event in places]
        if here:
            if number:
                told |= set(range(ended + 1, here[0]))
            ended = here[-1]
    return told


def has_all(client: RecoveringClient, committed: dict[str, list[str]]) -> bool:
    """Whether it is on all its channels and has, or was told to have missed, as much as was committed."""
    return client.is_ready and all(
        len(seen.known) >= len(committed[channel]) or seen.told_lost for channel, seen in client.seen.items()
    )


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """A percentile (share 0 to 1) of times, in milliseconds; 0 of none."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
