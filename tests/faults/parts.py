"""The ways in which each part of a platform can fail, and how it is brought back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.links import Links
from tests.support.stack import Stack

SERVICES = ("api", "worker", "gateway-1", "gateway-2")
SERVERS = ("redis", "postgres")
Fault = Callable[[], Awaitable[None]]


def descendants(pid: int) -> list[int]:
    """The process and everything below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, at = [pid], 0
    while at < len(found):
        found += children.get(found[at], [])
        at += 1
    return found


def signal_all(pid: int, number: signal.Signals) -> None:
    """Signal a process with its descendants: a server's children are processes of their own."""
    for one in descendants(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, number)


@dataclass(slots=True)
class Parts:
    """Breaks parts of one stack. Every method returns when the part is whole again, or is starting."""

    stack: Stack
    links: Links
    down: set[str]
    """Services that are down on purpose; a supervisor starts all others that are not running."""

    async def kill(self, name: str, pause: float) -> None:
        """SIGKILL, some time without it, a start."""
        self.down.add(name)
        await asyncio.to_thread(self._kill, name)
        await asyncio.sleep(pause)
        await asyncio.to_thread(self._start, name)
        self.down.discard(name)

    async def stop(self, name: str) -> None:
        """An ordinary restart: SIGTERM, wait for the end, start."""
        self.down.add(name)
        part = self._server(name)
        await asyncio.to_thread(part.stop if part is not None else self.stack.services[name].stop)
        await asyncio.to_thread(self._start, name)
        self.down.discard(name)

    async def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP and SIGCONT: it hangs, its sockets stay."""
        part = self._server(name)
        process = part.process if part is not None else self.stack.services[name].process
        if process.is_running:
            signal_all(process.pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            signal_all(process.pid, signal.SIGCONT)

    async def cut(self, link: str) -> None:
        """Every connection of a link is reset."""
        await asyncio.to_thread(self.links.cut, link)

    async def half_open(self, link: str, seconds: float) -> None:
        """A link swallows all bytes for a while, then its connections are reset."""
        self.links.swallow(link)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.links.heal, link)

    async def slow(self, link: str, delay_seconds: float, seconds: float) -> None:
        """Every chunk on a link is held back for a while."""
        self.links.slow(link, delay_seconds)
        await asyncio.sleep(seconds)
        self.links.slow(link, 0)

    def _server(self, name: str) -> EmbeddedPostgres | EmbeddedRedis | None:
        servers: dict[str, EmbeddedPostgres | EmbeddedRedis] = {
            "redis": self.stack.redis,
            "postgres": self.stack.postgres,
        }
        return servers.get(name)

    def _kill(self, name: str) -> None:
        part = self._server(name)
        (part.process if part is not None else self.stack.services[name]).kill()

    def _start(self, name: str) -> None:
        part = self._server(name)
        if part is not None:
            part.start()
        else:
            self.stack.services[name].start(wait=False)


def draw(parts: Parts, dice: random.Random, cut_clients: Callable[[], None], pace: float) -> tuple[str, Fault]:
    """The next fault by the dice: its name and what does it. `pace` is the longest pause in seconds."""
    pause = dice.uniform(0.0, pace)
    part = dice.choice([*SERVICES, *SERVERS])
    link = dice.choice(sorted(parts.links.proxies))
    delay = dice.uniform(0.02, 0.2)

    async def clients() -> None:
        cut_clients()

    faults: list[tuple[str, Fault]] = [
        (f"kill {part}", lambda: parts.kill(part, pause)),  # twice: what finds most comes most often
        (f"kill {part}", lambda: parts.kill(part, pause)),
        (f"freeze {part}", lambda: parts.freeze(part, 2 * pause)),
        (f"restart {part}", lambda: parts.stop(part)),
        (f"cut {link}", lambda: parts.cut(link)),
        (f"half-open {link}", lambda: parts.half_open(link, 2 * pause)),
        (f"slow {link}", lambda: parts.slow(link, delay, 2 * pause)),
        ("cut clients", clients),
    ]
    return dice.choice(faults)
