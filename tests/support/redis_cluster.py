"""A Redis Cluster on loopback: masters that share the slots, and replicas where a test wants to lose a master."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import redis
from sharedjox_contracts.redis_layout import CHANNEL_SLOTS, channel_slot
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from .polling import eventually_sync

NODE_TIMEOUT_MS: Final = 2500
"""After this a node that is silent counts as gone: far below the fifteen seconds that are usual, and more than a busy
machine keeps a server from its work."""


class ClusterNode(EmbeddedRedis):
    """One node. A durable one finds its data again after a kill, and every one its place in the cluster."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        # Port and bus are free now, and taken by the same server in a moment.
        self._bus_port = free_port()
        self.id = self.shard = secrets.token_hex(20)
        super().__init__(folder, free_port(), durable=durable, fsync_always=durable)

    def command(self) -> list[str]:
        """See `EmbeddedRedis`."""
        return [
            *super().command(),
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
            *("--cluster-port", str(self._bus_port), "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            *("--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"),
            *("--enable-debug-command", "local"),  # for `lose_messages`
        ]

    @property
    def line(self) -> str:
        """Its name and address as the nodes write them down."""
        return f"{self.id} 127.0.0.1:{self.port}@{self._bus_port},,tls-port=0,shard-id={self.shard}"

    def ask(self, *command: str | int) -> Any:
        """One command and its answer. Raises: redis.RedisError."""
        with redis.Redis(port=self.port, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command(*command)

    def is_whole(self, nodes: int) -> bool:
        """Whether it knows `nodes` nodes and an owner of every slot."""
        state = str(self.ask("CLUSTER", "INFO"))
        return "cluster_state:ok" in state and f"cluster_known_nodes:{nodes}\r" in state

    def view(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """The masters as this node sees them: of each the epoch of its configuration and the slots it serves."""
        view = {}
        for line in str(self.ask("CLUSTER", "NODES")).splitlines():
            name, _, flags, _, _, _, epoch, _, *slots = line.split()
            if "master" in flags:
                view[name] = int(epoch), tuple(one for one in slots if not one.startswith("["))
        return view

    def lose_messages(self, other: ClusterNode) -> None:
        """Cut what it has to and from another node: both dial again, and what was under way is gone."""
        self.ask("DEBUG", "CLUSTERLINK", "KILL", "ALL", other.id)


class RedisCluster:
    """`masters` and, behind each of the first ones, a replica of `replicas`."""

    def __init__(self, folder: Path, *, masters: int, replicas: int, durable: bool) -> None:
        self.masters = [ClusterNode(folder / f"master-{number}", durable=durable) for number in range(masters)]
        self.replicas = [ClusterNode(folder / f"replica-{number}", durable=durable) for number in range(replicas)]
        for replica, master in zip(self.replicas, self.masters, strict=False):
            replica.shard = master.shard

    @property
    def nodes(self) -> list[ClusterNode]:
        """All of them."""
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        """For REDIS_CHANNELS_URL: where nobody answers comes first."""
        places = ",".join(f"127.0.0.1:{port}" for port in (free_port(), *(node.port for node in self.masters)))
        return f"redis+cluster://{places}"

    def start(self) -> None:
        """Start all; on return every node knows the others and the owner of every slot.

        They begin with files that say so, as after a restart of them all: quicker than to introduce them.
        """
        for node in self.nodes:
            node.initialize()
            (node.data_dir / "nodes.conf").write_text(self._nodes_file(node))
        for node in self.nodes:
            node.start()
        self.settle()
        eventually_sync(self.is_replicated, 30, what="the replicas follow")

    def _nodes_file(self, reader: ClusterNode) -> str:
        lines = []
        for number, node in enumerate(self.masters):
            first = CHANNEL_SLOTS * number // len(self.masters)
            last = CHANNEL_SLOTS * (number + 1) // len(self.masters) - 1
            role = "myself,master" if node is reader else "master"
            lines.append(f"{node.line} {role} - 0 0 {number + 1} connected {first}-{last}")
        for number, node in enumerate(self.replicas):
            role = "myself,slave" if node is reader else "slave"
            lines.append(f"{node.line} {role} {self.masters[number].id} 0 0 {number + 1} connected")
        return "\n".join([*lines, f"vars currentEpoch {len(self.masters)} lastVoteEpoch 0", ""])

    def settle(self) -> None:
        """Wait until all living nodes agree that the cluster is whole."""
        living = [node for node in self.nodes if node.process.is_running]
        eventually_sync(
            lambda: all(node.is_whole(len(self.nodes)) for node in living) and self.is_agreed(),
            30,
            what="the nodes know each other",
        )

    def is_replicated(self) -> bool:
        """Whether every replica has what its master has, and the masters know of it."""
        shown = [master.run_command("INFO replication") for master in self.masters[: len(self.replicas)]]
        return all("master_link_status:up" in one.run_command("INFO replication") for one in self.replicas) and all(
            "connected_slaves:1" in text and "state=online" in text for text in shown
        )

    def owner(self, slot: int, teller: ClusterNode | None = None) -> ClusterNode:
        """The living node that serves a slot, as `teller` knows it, or the first that lives."""
        teller = teller or next(node for node in self.nodes if node.process.is_running)
        for first, last, (_, port, *_), *_ in teller.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        msg = f"nobody serves slot {slot}"
        raise LookupError(msg)

    def owner_of(self, app_id: str, channel: str) -> ClusterNode:
        """The node that a channel lives on."""
        return self.owner(channel_slot(app_id, channel))

    def move_slot(self, slot: int, target: ClusterNode) -> None:
        """Give a slot and its keys to another master, key by key, as `valkey-cli --cluster reshard` does.

        On return all nodes have heard of it. A master that takes a slot claims it with an epoch above all that it
        knows of: taken back before its old owner's epoch is known, the slot would be claimed twice with the same epoch
        or, worse, an older one, and the news of it, late, would undo the move.
        """
        source = self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *(one for one in self.masters if one not in (source, target))):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        eventually_sync(self.is_agreed, 30, what="the nodes agree on who serves what")
        assert self.owner(slot) is target, "the move holds"

    def is_agreed(self) -> bool:
        """Whether all living nodes see the same masters with the same slots, each at an epoch of its own."""
        first, *others = (node.view() for node in self.nodes if node.process.is_running)
        epochs = [epoch for epoch, slots in first.values() if slots]
        return all(view == first for view in others) and len(set(epochs)) == len(epochs)

    def flush(self) -> None:
        """Forget all data, and the scripts."""
        for node in self.masters:
            node.flush()

    def stop(self) -> None:
        """End all of them."""
        for node in self.nodes:
            node.stop()


def channels_on_each(nodes: RedisCluster, app_id: str, prefix: str) -> list[str]:
    """A channel name for each master, in their order."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < len(nodes.masters):
        name = f"{prefix}{number}"
        found.setdefault(nodes.masters.index(nodes.owner_of(app_id, name)), name)
        number += 1
    return [found[at] for at in range(len(nodes.masters))]


async def in_thread(work: Any, *arguments: Any) -> None:
    """Do something to the servers while the test's loop goes on."""
    await asyncio.to_thread(work, *arguments)


@contextlib.contextmanager
def running_cluster(
    folder: Path, *, masters: int = 3, replicas: int = 0, durable: bool = True
) -> Iterator[RedisCluster]:
    """A cluster that is up, stopped on leaving."""
    cluster = RedisCluster(folder, masters=masters, replicas=replicas, durable=durable)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
