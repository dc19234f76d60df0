"""The compose stack for real: the journey over TLS, every container killed under load, a rolling update."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.support.polling import eventually

from .conftest import ComposeStack
from .traffic import Poster, Subscriber, summary

SUBSCRIBERS = 40


@dataclass(frozen=True, slots=True)
class Load:
    """Traffic that is running."""

    poster: Poster
    subscribers: list[Subscriber]
    posting: asyncio.Task[None]

    async def goes_on(self) -> None:
        """Wait until more jobs were posted and everybody has heard of them."""
        before = len(self.poster.posted)
        await eventually(lambda: len(self.poster.posted) >= before + 25, 90, what="posting goes on")
        await eventually(lambda: all(one.seen[-1:] >= self.poster.posted[before:][:1] for one in self.subscribers), 90)

    async def settle(self) -> None:
        """Stop posting and hold everybody to the promise: all, once, in order."""
        self.posting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.posting
        posted = self.poster.posted
        await eventually(lambda: all(posted[-1] in one.seen for one in self.subscribers), 60, what="the last event")
        sys.stdout.write(f"{summary(self.poster, self.subscribers)}\n")
        for one in self.subscribers:
            assert [job for job in one.seen if job in set(posted)] == posted
            assert one.lost == 0


@pytest.fixture
async def load(stack: ComposeStack) -> AsyncIterator[Load]:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    poster = Poster(stack.url, trust)
    subscribers = [Subscriber(stack.url, trust) for _ in range(SUBSCRIBERS)]
    listening = [asyncio.create_task(one.run()) for one in subscribers]
    for one in subscribers:
        await asyncio.wait_for(one.joined.wait(), 30)
    running = Load(poster, subscribers, asyncio.create_task(poster.run()))
    yield running
    for task in (running.posting, *listening):
        task.cancel()
    await asyncio.gather(running.posting, *listening, return_exceptions=True)


def test_a_job_goes_from_post_to_payment(stack: ComposeStack) -> None:
    assert stack.compose("--profile", "test", "run", "--rm", "smoke").startswith("ok: ")


def test_services_run_as_nobody_on_a_read_only_root(stack: ComposeStack) -> None:
    for service in ("api", "worker", "gateway-1"):
        says = stack.compose("exec", "-T", service, "sh", "-c", "id -u; touch /x 2>/dev/null || echo refused")
        assert says.split() == ["10001", "refused"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", ["gateway-1", "gateway-2", "worker", "api", "redis", "postgres", "balancer"])
async def test_a_killed_container_loses_nothing(stack: ComposeStack, load: Load, service: str) -> None:
    await load.goes_on()
    await asyncio.to_thread(stack.compose, "kill", service)
    await asyncio.to_thread(stack.compose, "up", "--detach", "--no-deps", "--no-recreate", service)
    await load.goes_on()
    await load.settle()


@pytest.mark.timeout(300)
async def test_a_rolling_update_loses_nothing(stack: ComposeStack, load: Load) -> None:
    await load.goes_on()
    for service in ("worker", "api", "gateway-1", "gateway-2"):
        arguments = ("up", "--detach", "--no-deps", "--force-recreate", "--wait", service)
        await asyncio.to_thread(stack.compose, *arguments)
        await load.goes_on()
    await load.settle()
    assert sum(one.reconnects for one in load.subscribers) >= SUBSCRIBERS
