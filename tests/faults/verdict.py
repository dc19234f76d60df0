"""What a client saw against what was committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .recovering_client import RecoveringClient, Seen


@dataclass(slots=True)
class Verdict:
    """Sums over clients and channels; only `events`, `deliveries`, `repeats` and `told_lost` may be more than 0.

    `lost` are events that a client neither got nor was told to have missed; `told` those between two stretches. Order
    is promised within a stretch: behind the telling of a loss, what Redis got again from the outbox may be older.
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
    for stretch in seen.stretches:
        in_order = [places[event] for event in stretch if event in places]
        verdict.out_of_order += sum(later < earlier for earlier, later in pairwise(in_order))
    verdict.jumps += seen.jumps
    verdict.repeats += seen.repeats
    verdict.told_lost += seen.told_lost
    missing = set(range(len(places))) - set(known)
    told = missing & _told(seen, places)
    verdict.told += len(told)
    verdict.lost += len(missing) - len(told)


def _told(seen: Seen, places: dict[str, int]) -> set[int]:
    """Places between two stretches, and behind the last one if nothing came since: the client was told of these.

    What is missing at the end of a stretch in which something came is lost.
    """
    told: set[int] = set()
    ended = -1
    for number, stretch in enumerate(seen.stretches):
        here = [places[event] for event in stretch if event in places]
        if here:
            if number:
                told |= set(range(ended + 1, here[0]))
            ended = here[-1]
    if len(seen.stretches) > 1 and not seen.stretches[-1]:
        told |= set(range(ended + 1, len(places)))
    return told


def has_all(client: RecoveringClient, committed: dict[str, list[str]]) -> bool:
    """Whether it is on all its channels and has all that was committed; where it was told of a loss, the newest."""
    return client.is_ready and all(_has_all(seen, committed[channel]) for channel, seen in client.seen.items())


def _has_all(seen: Seen, committed: Sequence[str]) -> bool:
    if seen.told_lost:
        return not seen.stretches[-1] or committed[-1] in seen.known
    return len(seen.known) >= len(committed)


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """A percentile (share 0 to 1) of times, in milliseconds; 0 of none."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
