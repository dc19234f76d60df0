"""Runs the relay: on every bell, and once a second without one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Protocol

from sharedjox_kit.logs import get_logger
from sharedjox_outbox.relay import ComeBack, NextRun

log = get_logger(__name__)

_AFTER_MISTAKE_SECONDS: Final = 1.0


class Drain(Protocol):
    """What is run: `sharedjox_outbox.relay.Relay`."""

    async def drain(self) -> NextRun:
        """Publish until nothing is left to do here."""
        ...

    def request_stop(self) -> None:
        """Let `drain` return after the batch that it is working on."""
        ...


class RelayRunner:
    """One loop per process. Bells that come while a run is under way lead to one more run, however many they are.

    It does not depend on arq: a queue that is stuck costs an event at most one sweep interval.
    """

    def __init__(self, relay: Drain, *, sweep_seconds: float) -> None:
        self._relay = relay
        self._sweep_seconds = sweep_seconds
        self._bell = asyncio.Event()
        self._rung = 0
        self._answered = 0
        self._run_ended = asyncio.Condition()
        self._is_stopping = False

    def ring(self) -> None:
        """Something was committed, or may have been."""
        self._rung += 1
        self._bell.set()

    async def ring_and_wait(self) -> None:
        """Ring, and return once a run that began afterwards has left nothing to do."""
        self.ring()
        mine = self._rung
        async with self._run_ended:
            await self._run_ended.wait_for(lambda: self._answered >= mine)

    def stop(self) -> None:
        """Let `run` return after the batch that is being published."""
        self._is_stopping = True
        self._relay.request_stop()
        self._bell.set()

    async def run(self) -> None:
        """Relay until stopped."""
        while not self._is_stopping:
            self._bell.clear()
            rung = self._rung
            match await self._drain():
                case ComeBack(after_seconds):
                    # Not woken by bells: whatever is wrong, trying at once would be a busy loop.
                    await asyncio.sleep(after_seconds)
                case _:
                    await self._answer(rung)
                    await self._wait_for_bell()

    async def _drain(self) -> NextRun:
        try:
            return await self._relay.drain()
        except Exception:  # the loop must outlive a mistake; the rows stay pending
            log.exception("outbox.relay_failed")
            return ComeBack(_AFTER_MISTAKE_SECONDS, "mistake")

    async def _answer(self, rung: int) -> None:
        async with self._run_ended:
            self._answered = rung
            self._run_ended.notify_all()

    async def _wait_for_bell(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._sweep_seconds):
                await self._bell.wait()
