"""The compose stack on ports of its own. Only run when asked for by name (`make test-compose`): it needs an engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sharedjox_devstack.ports import free_port

from tests.support.polling import eventually
from tests.support.processes import REPOSITORY

from .traffic import Poster, Subscriber, summary

HERE = Path(__file__).parent
UP_SECONDS = 900
PROJECT = "sharedjox-test"
SUBSCRIBERS = 40


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests out of runs that do not name them."""
    named = any(Path(str(argument).partition("::")[0]).resolve().is_relative_to(HERE) for argument in config.args)
    return None if named or not collection_path.is_relative_to(HERE) else True


@dataclass(frozen=True, slots=True)
class ComposeStack:
    """The running stack."""

    https_port: int
    env: dict[str, str]

    @property
    def url(self) -> str:
        """The balancer's address."""
        return f"https://localhost:{self.https_port}"

    def compose(self, *arguments: str) -> str:
        """Run `docker compose …`; returns its output. Raises: AssertionError with what it said."""
        done = subprocess.run(
            ["docker", "compose", "--project-name", PROJECT, *arguments],
            cwd=REPOSITORY,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=UP_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def state_of(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container."""
        lines = self.compose("ps", "--all", "--format", "json", service).splitlines()
        state: dict[str, Any] = json.loads(lines[0])
        return state


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """Build, start, wait; take everything down afterwards."""
    https_port = free_port()
    own = {
        "HTTPS_PORT": str(https_port),
        "HTTP_PORT": str(free_port()),
        "EDGE_SUBNET": "10.213.81.0/24",
        "EDGE_RANGE": "10.213.81.128/25",
        "BALANCER_ADDRESS": "10.213.81.2",
        "DRAIN_SECONDS": "2",
        "SHAREDJOX_TAG": "test",
    }
    started = ComposeStack(https_port, dict(os.environ) | own)
    try:
        started.compose("up", "--detach", "--build", "--wait", "--wait-timeout", "300")
        yield started
    finally:
        started.compose("down", "--volumes", "--remove-orphans")


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
