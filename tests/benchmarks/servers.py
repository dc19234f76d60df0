"""What is measured: the real gateway on its Redis, and a plain C server as the yardstick."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sharedjox_contracts.channels import channel_kind
from sharedjox_contracts.frames import close_event_frame, open_event_frame
from sharedjox_contracts.publication import Header, encode_transient, publish_arguments, publish_keys
from sharedjox_contracts.redis_layout import PUBLISH_SCRIPT, HistoryLimits, live_topic
from sharedjox_devstack.ports import accepts_connections, free_port, http_status
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.redis_server import running_redis

from .load_client.compiler import build_baseline
from .machine import CLIENT_CORE, SERVER_CORE, on_core, pin, prefer

APP_ID, APP_KEY, APP_SECRET = "1001", "sharedjox", "sharedjox-secret"
PAYLOAD_BYTES = 300
START_SECONDS = 20.0
MARKS = "@seq@@ts@#"
MARK_BYTES = len("#s00000000#t0000000000000000#")


@dataclass(slots=True)
class Server:
    """A server under test: where it listens, who it is, how the load client talks to it."""

    name: str
    ports: list[int]
    pids: list[int]
    options: list[str]


def wait_for(is_there: Callable[[], bool], what: str, *, seconds: float = START_SECONDS) -> None:
    """Poll until `is_there()` holds, `seconds` long. Raises: TimeoutError."""
    end = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > end:
            msg = f"{what} did not come up within {seconds:g} s"
            raise TimeoutError(msg)
        time.sleep(0.02)


@contextlib.contextmanager
def process(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that ends with the block."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env or os.environ), cwd=cwd
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[EmbeddedRedis]:
    """A Valkey of our own on the client's core, before the client: the real one is on a machine of its own."""
    folder.mkdir(exist_ok=True)
    with running_redis(folder) as server:
        pin(server.process.pid, CLIENT_CORE)
        prefer(server.process.pid)
        yield server


# --- the gateway ------------------------------------------------------------------------------------------------------


def load_script(redis: EmbeddedRedis, text: str) -> str:
    """Make Redis know a script; returns its hash."""
    body = text.encode()
    with socket.create_connection(("127.0.0.1", redis.port), timeout=5) as connection:
        connection.sendall(b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%d\r\n%s\r\n" % (len(body), body))
        return connection.recv(4096).split(b"\r\n")[1].decode()


def redis_publish_options(redis: EmbeddedRedis, channel: str, payload_bytes: int) -> list[str]:
    """Options with which the load client publishes durable events as the worker's relay does.

    The frame that reaches the clients is `payload_bytes` long, position and id included.
    """
    identifier = "@id@"
    expanded = len("0123456789abcdef-0000000-00000000-be")
    opened = open_event_frame(event="bench.event", channel="@ch@", data=f"{MARKS}@pad@", event_id=identifier)
    whole = close_event_frame(opened, epoch="0123456789abcdef"[:12], offset=100_000)
    name = channel.replace("%d", "1000")
    fixed = len(whole) - len(f"{MARKS}@pad@") - len(identifier) - len("@ch@") + MARK_BYTES + expanded + len(name)
    limits = HistoryLimits()
    arguments = publish_arguments(
        event_id=identifier,
        opened_frame=opened,
        header=Header("bench.event", event_id=identifier, committed_at_us=int(time.time() * 1e6)),
        candidate_epoch="benchmarkepo",
        now_ms=int(time.time() * 1000),
        limits=limits,
    )
    command: list[object] = [
        "EVALSHA",
        load_script(redis, PUBLISH_SCRIPT),
        4,
        *publish_keys(APP_ID, "@ch@"),
        *arguments,
    ]
    options = ["--publisher", "redis", "--publish-port", str(redis.port), "--pad", str(payload_bytes - fixed)]
    for part in command:
        options += ["--publish-argument", part.decode() if isinstance(part, bytes) else str(part)]
    return options


def redis_transient_options(redis: EmbeddedRedis, channel: str, payload_bytes: int) -> list[str]:
    """Options with which the load client publishes as client events are: without history, which is Redis' dear part."""
    frame = f'{{"event":"bench.event","channel":"@ch@","data":"{MARKS}@pad@"}}'
    name = channel.replace("%d", "1000")
    pad = payload_bytes - (len(frame) - len(f"{MARKS}@pad@@ch@") + MARK_BYTES + len(name))
    message = encode_transient(Header("bench.event", committed_at_us=int(time.time() * 1e6)), frame.encode()).decode()
    options = ["--publisher", "redis", "--publish-port", str(redis.port), "--pad", str(pad)]
    for part in ("PUBLISH", live_topic(APP_ID, "@ch@"), message):
        options += ["--publish-argument", part]
    return options


def pusher_options(ports: Sequence[int], channel: str) -> list[str]:
    """How a Pusher client connects and subscribes; private and presence channels with a signature per connection."""
    auth = ',"auth":"@auth@"' if channel_kind(channel).needs_signature else ""
    return [
        "--ports", ",".join(map(str, ports)),
        "--path", f"/app/{APP_KEY}?protocol=7&client=bench&version=1.0&flash=false",
        "--welcome", "connection_established",
        "--subscribe", f'{{"event":"pusher:subscribe","data":{{"channel":"@ch@"{auth}}}}}',
        "--unsubscribe", '{"event":"pusher:unsubscribe","data":{"channel":"@ch@"}}',
        "--acknowledged", "subscription_succeeded",
        "--key", APP_KEY, "--secret", APP_SECRET, "--channel", channel,
    ]  # fmt: skip


def _is_ready(port: int) -> bool:
    return http_status(port, "/readyz") == 200


@contextlib.contextmanager
def gateway(
    folder: Path,
    redis: EmbeddedRedis,
    *,
    channel: str,
    processes: int = 1,
    payload_bytes: int = PAYLOAD_BYTES,
    extra_env: Mapping[str, str] | None = None,
    module: str = "sharedjox_gateway.main",
    durable: bool = True,
) -> Iterator[Server]:
    """The gateway by its real entry point, all on the server's core, metrics and authentication as in production."""
    ports = [free_port() for _ in range(processes)]
    with contextlib.ExitStack() as stack:
        pids = []
        for port in ports:
            env = {
                **os.environ, "APP_ENV": "test", "REDIS_URL": redis.url, "REVERB_HOST": "127.0.0.1",
                "REVERB_PORT": str(port), "LOG_FORMAT": "json", "LOG_LEVEL": "warning", "DRAIN_SECONDS": "0",
                **(extra_env or {}),
            }  # fmt: skip
            command = on_core(SERVER_CORE, [sys.executable, "-m", module])
            child = stack.enter_context(process(command, folder / "gateway.log", env=env))
            pids.append(child.pid)
        for port in ports:
            wait_for(partial(_is_ready, port), "the gateway", seconds=START_SECONDS * processes)
        publish = redis_publish_options if durable else redis_transient_options
        options = pusher_options(ports, channel) + publish(redis, channel, payload_bytes)
        yield Server("gateway", ports, pids, options)


# --- the yardstick ----------------------------------------------------------------------------------------------------


def plain_frame_options(ports: Sequence[int], channel: str, payload_bytes: int = PAYLOAD_BYTES) -> list[str]:
    """For servers that know `SUB <channel>` and `PUB <channel> <frame>` on a WebSocket; frames of the same size."""
    frame = f'{{"event":"bench.event","data":"{MARKS}@pad@","channel":"@ch@"}}'
    name = channel.replace("%d", "1000")
    pad = payload_bytes - (len(frame) - len(f"{MARKS}@pad@@ch@") + MARK_BYTES + len(name))
    return [
        "--ports", ",".join(map(str, ports)),
        "--subscribe", "SUB @ch@", "--acknowledged", "OK", "--channel", channel,
        "--publisher", "ws", "--publish-text", f"PUB @ch@ {frame}", "--pad", str(pad),
    ]  # fmt: skip


@contextlib.contextmanager
def baseline(folder: Path, *, channel: str, payload_bytes: int = PAYLOAD_BYTES, fault: str = "") -> Iterator[Server]:
    """The plain C epoll server: no protocol, no checks, coalescing. `fault` (drop, double, swap) tests the checker."""
    port = free_port()
    command = on_core(SERVER_CORE, [str(build_baseline()), str(port), *([fault] if fault else [])])
    with process(command, folder / "baseline.log") as child:
        wait_for(lambda: accepts_connections(port), "the baseline server")
        yield Server("c", [port], [child.pid], plain_frame_options([port], channel, payload_bytes))
