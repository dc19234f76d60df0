"""One job from post to payment through the balancer, seen on WebSockets: exit 0 when everything arrived.

Runs in the gateway's image: `docker compose --profile test run --rm smoke`, or anywhere with `httpx` and `websockets`.
Uses the demo accounts; against a platform without them give others by SMOKE_CLIENT, SMOKE_FREELANCER, SMOKE_PASSWORD.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import websockets

CLIENT: Final = os.environ.get("SMOKE_CLIENT", "client@sharedjox.test")
FREELANCER: Final = os.environ.get("SMOKE_FREELANCER", "freelancer@sharedjox.test")
PASSWORD: Final = os.environ.get("SMOKE_PASSWORD", "password")
APP_KEY: Final = os.environ.get("REVERB_APP_KEY", "sharedjox")
EVENT_SECONDS: Final = 10.0
STEPS: Final = ["claimed", "in_progress", "submitted", "completed"]


class SmokeError(Exception):
    """Something did not happen; the message says what."""


@dataclass(slots=True)
class Person:
    """A user with a REST client and one socket."""

    http: httpx.AsyncClient
    socket: websockets.ClientConnection
    user_id: int
    socket_id: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET, or POST with a body. Raises: SmokeError with the problem document."""
        answer = await (self.http.get(path) if body is None else self.http.post(path, json=body))
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise SmokeError(f"{path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    async def join(self, channel: str) -> None:
        """Subscribe, authorized by the api unless the channel is public, and wait for the yes."""
        data = {"channel": channel}
        if channel.startswith(("private-", "presence-")):
            data |= await self.call("/broadcasting/auth", {"socket_id": self.socket_id, "channel_name": channel})
        await self.socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))
        await self.wait("pusher_internal:subscription_succeeded", channel)

    async def wait(self, event: str, channel: str) -> Any:
        """The data of the next such event. Raises: SmokeError when it does not come."""
        deadline = time.monotonic() + EVENT_SECONDS
        while True:
            for number, frame in enumerate(self.seen):
                if frame["event"] == event and frame.get("channel") == channel:
                    return json.loads(self.seen.pop(number)["data"])
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    self.seen.append(json.loads(await self.socket.recv()))
            except TimeoutError:
                names = [frame["event"] for frame in self.seen]
                raise SmokeError(f"no {event} on {channel} within {EVENT_SECONDS:g} s; seen: {names}") from None


@asynccontextmanager
async def person(base: str, email: str, trust: ssl.SSLContext) -> AsyncIterator[Person]:
    """Log in and connect."""
    async with httpx.AsyncClient(base_url=base, verify=trust, timeout=10) as http:
        answer = await http.post("/api/auth/login", json={"email": email, "password": PASSWORD})
        if answer.status_code != httpx.codes.OK:
            raise SmokeError(f"log-in of {email}: {answer.status_code} {answer.text}")
        login = answer.json()
        http.headers["Authorization"] = f"Bearer {login['accessToken']}"
        address = f"{base.replace('http', 'ws', 1)}/app/{APP_KEY}?protocol=7&client=smoke&version=1"
        async with websockets.connect(address, ssl=trust if base.startswith("https") else None) as socket:
            hello = json.loads(await socket.recv())
            socket_id = json.loads(hello["data"])["socket_id"]
            yield Person(http, socket, login["user"]["id"], socket_id)


async def run(base: str, trust: ssl.SSLContext) -> None:
    """The journey. Raises: SmokeError, or what the network raises."""
    async with person(base, CLIENT, trust) as client, person(base, FREELANCER, trust) as freelancer:
        await freelancer.join("jobs.discovery")
        await client.join(f"private-user.{client.user_id}")
        await freelancer.join(f"private-user.{freelancer.user_id}")
        wanted = {
            "title": "Smoke test",
            "budgetMin": 1,
            "budgetMax": 2,
            "requiredSkills": ["python"],
            "estimatedDuration": 5,
        }
        job = (await client.call("/api/jobs", wanted))["id"]
        posted = await freelancer.wait("job.posted", "jobs.discovery")
        while posted["job"]["id"] != job:
            posted = await freelancer.wait("job.posted", "jobs.discovery")
        await client.join(f"private-job.{job}")
        await freelancer.call(f"/api/jobs/{job}/claim", {})
        await client.wait("job.claimed", f"private-job.{job}")
        await freelancer.call(f"/api/jobs/{job}/status", {"status": "in_progress"})
        await freelancer.call(f"/api/jobs/{job}/status", {"status": "submitted", "deliverables": ["smoke"]})
        await client.call(f"/api/jobs/{job}/status", {"status": "completed"})
        steps = [(await client.wait("job.updated", f"private-job.{job}"))["status"] for _ in STEPS]
        if steps != STEPS:
            raise SmokeError(f"job.updated came as {steps}")
        items = (await freelancer.call("/api/wallet/transactions"))["items"]
        earning = next(item for item in items if item["type"] == "job_earning" and item["jobId"] == job)
        await client.call(f"/api/wallet/transactions/{earning['id']}/confirm", {})
        updated = await freelancer.wait("wallet.updated", f"private-user.{freelancer.user_id}")
        sys.stdout.write(f"ok: job {job} posted, claimed, completed and paid; new balance {updated['newBalance']}\n")


def main() -> int:
    """Entry point: 1 and one line when something did not happen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="address of the balancer, e.g. https://localhost")
    parser.add_argument("--certificate", help="PEM to trust besides the usual authorities")
    options = parser.parse_args()
    trust = ssl.create_default_context(cafile=options.certificate)
    try:
        asyncio.run(run(options.base, trust))
    except (SmokeError, OSError, httpx.HTTPError, websockets.WebSocketException) as error:
        sys.stderr.write(f"failed: {error or type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
