"""The official `pusher` server library for Node, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from .gateway import APP, GatewayNode, TestApp
from .node_client import E2E, LINE_LIMIT_BYTES, require_packages
from .polling import scaled
from .processes import clean_environment

SCRIPT = E2E / "node" / "server-sdk.mjs"


class SdkRefusedError(AssertionError):
    """The gateway answered the library with an error status."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


@dataclass(slots=True)
class NodeSdk:
    """A running library. `call("trigger", …)` is `pusher.trigger(…)`."""

    process: asyncio.subprocess.Process

    async def call(self, name: str, *arguments: Any) -> Any:
        """Call a method; returns the JSON of the answer's body. Raises: SdkRefusedError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"call": name, "arguments": arguments}).encode() + b"\n")
        async with asyncio.timeout(scaled(15)):
            answer = json.loads(await self.process.stdout.readline())
        if "refused" in answer:
            raise SdkRefusedError(**answer["refused"])
        assert "failed" not in answer, answer["failed"]
        return answer["ok"]


@contextlib.asynccontextmanager
async def node_sdk(node: GatewayNode, app: TestApp = APP, **options: Any) -> AsyncIterator[NodeSdk]:
    """The library with this app's credentials, pointed at one gateway."""
    require_packages()
    config = {"appId": app.id, "key": app.key, "secret": app.secret, "host": "127.0.0.1", "port": str(node.port)}
    process = await asyncio.create_subprocess_exec(
        *("node", str(SCRIPT), json.dumps({**config, "useTLS": False, **options})),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(),
        limit=LINE_LIMIT_BYTES,
    )
    try:
        yield NodeSdk(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
