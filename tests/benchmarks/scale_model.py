"""From what one event, delivery and connection cost to how much of everything a platform needs, and what ends first.

Plain arithmetic on measured constants (scale.py) and a workload that is stated here: change it with the reader's own
figures. docs/scale.md says what of this was measured and what is calculated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

BUSY: Final = 0.5
"""How much of a core may be in use: the rest is for bursts, and for the neighbour's share when it dies."""
GATEWAY_CONNECTIONS: Final = 10_000
"""What the autoscaler aims at for one process, half of MAX_CONNECTIONS."""
RELAYS: Final = 16
"""Shards of the outbox: more relays than that find nothing to do."""
DATABASE_CORES: Final = 16
DATABASE_CONNECTIONS: Final = 500
GATEWAY_PODS: Final = 100
"""`maxReplicas` of the autoscalers in deploy/kubernetes, here and for the api."""
API_PODS: Final = 20
API_POD_CONNECTIONS: Final = 20
"""DATABASE_POOL_SIZE + DATABASE_MAX_OVERFLOW there."""
WORKER_CONNECTIONS: Final = 10
FAR: Final = 20_000_000
CONNECTIONS: Final = (1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Constants:
    """Microseconds of processor time, and bytes."""

    gateway_event_us: float
    """For each event and gateway process that has members of its channel."""
    gateway_delivery_us: float
    gateway_connect_us: float
    gateway_connection_bytes: float
    redis_event_us: float
    """For each durable event, whoever listens."""
    redis_subscriber_us: float
    """For each event and gateway process that listens."""
    redis_connect_us: float
    worker_event_us: float
    postgres_event_us: float
    api_request_us: float = 1810.0
    """Mixed requests of `bench-api`, seen on 2026-11-26: 553 for each second of processor time."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What one connection brings, each second."""

    events: float = 0.01
    """Durable events that concern one or two people: wallet, notifications, a job's parties."""
    listeners: float = 2.0
    """Connections that hear each of them, on different gateway processes."""
    broadcasts: float = 1 / 86_400
    """Events that many hear: each connection's owner posts one job a day."""
    audience: float = 0.2
    """Share of all connections that hear each of those."""
    requests: float = 0.02
    """REST calls and channel authorizations."""
    connects: float = 1 / 1200
    """Each connection comes back every twenty minutes: phones change networks."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A part, how many cores it needs, and how many it can have before something else must be switched on."""

    part: str
    needs: float
    has: float
    remedy: str

    @property
    def share(self) -> float:
        """1 and more: it does not fit."""
        return self.needs / self.has


@dataclass(frozen=True, slots=True)
class Step:
    """The platform at one number of connections. Cores are used cores; counts of processes keep `BUSY`."""

    connections: int
    events_per_second: float
    deliveries_per_second: float
    gateways: int
    gateway_core: float
    """Of one process, in use."""
    gateway_memory_gb: float
    redis_cores: float
    workers: int
    postgres_cores: float
    api_pods: int
    database_connections: int
    storm_seconds: float
    """Everybody returns at once (a new Redis, a balancer that was away): seconds until all are back, gateways alone."""
    ceilings: list[Ceiling] = field(default_factory=list)

    @property
    def bottleneck(self) -> Ceiling:
        """What is nearest to its ceiling."""
        return max(self.ceilings, key=lambda one: one.share)


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least squares through points: what is there at 0, never negative, and what each one more adds."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return max(mean_y - slope * mean_x, 0.0), max(slope, 0.0)


def step(connections: int, cost: Constants, load: Workload) -> Step:
    """Everything that so many connections need. Raises: ValueError when each gateway would be full of broadcasts."""
    events, broadcasts = load.events * connections, load.broadcasts * connections
    deliveries = events * load.listeners + broadcasts * load.audience * connections
    connects = load.connects * connections

    if broadcasts * cost.gateway_event_us / 1e6 >= BUSY:
        msg = f"{broadcasts:,.0f} broadcasts a second fill every gateway: no number of them is enough"
        raise ValueError(msg)

    def gateway_seconds(processes: int) -> float:
        heard = events * min(load.listeners, processes) + broadcasts * processes
        seconds = heard * cost.gateway_event_us + deliveries * cost.gateway_delivery_us
        return (seconds + connects * cost.gateway_connect_us) / 1e6

    gateways = max(2, math.ceil(connections / GATEWAY_CONNECTIONS))
    while gateway_seconds(gateways) / gateways > BUSY:
        gateways += 1
    announced = events * min(load.listeners, gateways) + broadcasts * gateways
    redis = (events + broadcasts) * cost.redis_event_us + announced * cost.redis_subscriber_us
    redis = (redis + connects * cost.redis_connect_us) / 1e6
    relays = (events + broadcasts) * cost.worker_event_us / 1e6
    requests = load.requests * connections * cost.api_request_us / 1e6
    # That Postgres works as long for a request as the api does is an assumption.
    postgres = (events + broadcasts) * cost.postgres_event_us / 1e6 + requests
    workers, api_pods = max(2, math.ceil(relays / BUSY)), max(2, math.ceil(requests / BUSY))
    found = Step(
        connections=connections,
        events_per_second=events + broadcasts,
        deliveries_per_second=deliveries,
        gateways=gateways,
        gateway_core=gateway_seconds(gateways) / gateways,
        gateway_memory_gb=connections * cost.gateway_connection_bytes / 1e9,
        redis_cores=redis,
        workers=workers,
        postgres_cores=postgres,
        api_pods=api_pods,
        database_connections=api_pods * API_POD_CONNECTIONS + workers * WORKER_CONNECTIONS,
        storm_seconds=connections / gateways * cost.gateway_connect_us / 1e6,
    )
    return replace(found, ceilings=ceilings(found))


def ceilings(found: Step) -> list[Ceiling]:
    """What each part can be before its kind of scaling ends, and what comes then."""
    pooling = "smaller DATABASE_POOL_SIZE, then PgBouncer before the api"
    return [
        Ceiling("gateways", found.gateways, GATEWAY_PODS, "raise the gateway autoscaler's maxReplicas"),
        Ceiling("Redis", found.redis_cores, BUSY, "REDIS_CHANNELS_URL: a Cluster, a master for each share"),
        Ceiling("relays", found.workers, RELAYS, "more shards of the outbox (SHARDS, a migration)"),
        Ceiling("Postgres", found.postgres_cores, DATABASE_CORES * BUSY, "a larger node, then a replica for reads"),
        Ceiling("connections to Postgres", found.database_connections, DATABASE_CONNECTIONS, pooling),
        Ceiling("api", found.api_pods, API_PODS, "raise the api autoscaler's maxReplicas"),
    ]


def plan(cost: Constants, load: Workload | None = None) -> list[Step]:
    """The steps from a thousand connections to a million."""
    return [step(connections, cost, load or Workload()) for connections in CONNECTIONS]


def full_at(part: str, cost: Constants, load: Workload | None = None) -> int:
    """From how many connections on (in thousands) a part needs more than its ceiling; `FAR` when that is further."""

    def is_full(thousands: int) -> bool:
        try:
            found = step(thousands * 1000, cost, load or Workload())
        except ValueError:  # every gateway is full of broadcasts: nothing works any more
            return True
        return next(one for one in found.ceilings if one.part == part).share > 1

    low, high = 0, FAR // 1000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_full(middle) else (middle, high)
    return high * 1000


def order(cost: Constants, load: Workload | None = None) -> str:
    """What is full when, the first first, in Markdown."""
    parts = {one.part: one for one in step(CONNECTIONS[-1], cost, load or Workload()).ceilings}
    found = sorted((full_at(part, cost, load), part) for part in parts)
    lines = ["| full at | part | what to switch on |", "|---:|---|---|"]
    lines += [f"| {at:,} | {part} | {parts[part].remedy} |" for at, part in found]
    return "\n".join(lines)


def table(steps: Sequence[Step]) -> str:
    """For people, in Markdown."""
    lines = [
        "| connections | events/s | deliveries/s | gateways (of a core each) | their memory | Redis cores | workers |"
        " Postgres cores | api pods | connections to Postgres | all return in |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.connections:,} | {one.events_per_second:,.1f} | {one.deliveries_per_second:,.0f} | {one.gateways}"
        f" ({one.gateway_core:.2f}) | {one.gateway_memory_gb:.2f} GB | {one.redis_cores:.3f} | {one.workers} |"
        f" {one.postgres_cores:.2f} | {one.api_pods} | {one.database_connections} | {one.storm_seconds:.1f} s |"
        for one in steps
    ]
    lines += ["", "| connections | nearest to its ceiling | what does not fit |", "|---:|---|---|"]
    for one in steps:
        over = sorted((part for part in one.ceilings if part.share > 1), key=lambda part: -part.share)
        lines.append(
            f"| {one.connections:,} | {one.bottleneck.part}, {one.bottleneck.share:.0%}"
            f" | {', '.join(f'{part.part} {part.share:.0%}' for part in over) or '-'} |"
        )
    return "\n".join(lines)
