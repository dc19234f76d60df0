"""Other people's servers under the same load, installed from npm and apt into a folder outside the tree.

Bare uWebSockets.js and `ws` run a script of ours (peer_files) that knows two commands; nchan and Soketi run as they
are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from sharedjox_devstack.ports import accepts_connections, free_port

from .machine import SERVER_CORE, children, on_core
from .servers import (
    APP_ID,
    APP_KEY,
    APP_SECRET,
    MARK_BYTES,
    MARKS,
    PAYLOAD_BYTES,
    Server,
    plain_frame_options,
    process,
    pusher_options,
    wait_for,
)

FILES: Final = Path(__file__).with_name("peer_files")
NCHAN_PACKAGES: Final = ("nginx", "libnginx-mod-nchan", "libhiredis0.14")
PEERS: Final = ("uws", "ws", "soketi", "nchan")
CHANNEL: Final = "bench"


class PeerMissingError(Exception):
    """A peer cannot be had on this machine."""


# --- installing -------------------------------------------------------------------------------------------------------


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerMissingError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def install_npm(folder: Path) -> None:
    """Soketi, uWebSockets.js and ws. Raises: PeerMissingError."""
    if not shutil.which("npm"):
        raise PeerMissingError("npm is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES.iterdir():
        shutil.copy(file, folder)
    if not (folder / "node_modules" / "@soketi").exists():
        _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], folder)


def install_nchan(folder: Path) -> None:
    """nginx with nchan, unpacked and not installed. Raises: PeerMissingError."""
    if not shutil.which("apt-get"):
        raise PeerMissingError("apt is not here")
    if not (folder / "usr").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", *NCHAN_PACKAGES], folder)
        for package in folder.glob("*.deb"):
            _run(["dpkg", "-x", str(package), str(folder)], folder)


def install(folder: Path) -> list[str]:
    """All that can be had; says which cannot and why."""
    available: list[str] = []
    for names, work, where in (
        (("uws", "ws", "soketi"), install_npm, folder / "npm"),
        (("nchan",), install_nchan, folder / "nchan"),
    ):
        try:
            work(where)
            available += names
        except PeerMissingError as error:
            sys.stdout.write(f"without {', '.join(names)}: {error}\n")
    return available


# --- running ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _started(name: str, command: list[str], folder: Path, port: int, env: dict[str, str], cwd: Path) -> Iterator[int]:
    with process(on_core(SERVER_CORE, command), folder / f"{name}.log", env={**os.environ, **env}, cwd=cwd) as child:
        wait_for(partial(accepts_connections, port), name)
        yield child.pid


def soketi_options(port: int) -> list[str]:
    """The same Pusher client as for the gateway, on a private channel too; published over the signed HTTP API."""
    channel = f"private-{CHANNEL}"
    frame = f'{{"channel":"{channel}","event":"bench.event","data":"{MARKS}@pad@"}}'
    event = f'{{"name":"bench.event","channel":"@ch@","data":"{MARKS}@pad@"}}'
    pad = PAYLOAD_BYTES - (len(frame) - len(f"{MARKS}@pad@") + MARK_BYTES)
    return [
        *pusher_options([port], channel),
        "--publisher", "http", "--publish-port", str(port), "--publish-path", f"/apps/{APP_ID}/batch_events",
        "--http-head", '{"batch":[', "--http-tail", "]}", "--http-batch", "10",
        "--publish-text", event, "--pad", str(pad),
    ]  # fmt: skip


@contextlib.contextmanager
def soketi(installed: Path, folder: Path) -> Iterator[Server]:
    """Soketi with its in-memory adapter: no Redis hop, which the gateway has."""
    port = free_port()
    env = {
        "SOKETI_HOST": "127.0.0.1",
        "SOKETI_PORT": str(port),
        "SOKETI_METRICS_ENABLED": "1",
        "SOKETI_METRICS_SERVER_PORT": str(free_port()),
        "SOKETI_DEFAULT_APP_ID": APP_ID,
        "SOKETI_DEFAULT_APP_KEY": APP_KEY,
        "SOKETI_DEFAULT_APP_SECRET": APP_SECRET,
        "SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC": "-1",
    }
    command = ["node", "node_modules/@soketi/soketi/bin/server.js", "start"]
    with _started("soketi", command, folder, port, env, installed / "npm") as pid:
        yield Server("soketi", [port], [pid], soketi_options(port))


@contextlib.contextmanager
def node_script(name: str, installed: Path, folder: Path) -> Iterator[Server]:
    """uws or ws."""
    port = free_port()
    command = ["node", f"{name}.cjs", str(port)]
    with _started(name, command, folder, port, {}, installed / "npm") as pid:
        yield Server(name, [port], [pid], plain_frame_options([port], CHANNEL))


@contextlib.contextmanager
def nchan(installed: Path, folder: Path) -> Iterator[Server]:
    """nginx with nchan: subscribed by the URL, published over a WebSocket."""
    port, root = free_port(), installed / "nchan"
    text = (FILES / "nchan.conf").read_text("utf-8")
    module = next(root.glob("usr/lib/nginx/modules/ngx_nchan_module.so"))
    for token, value in (("@root@", str(folder)), ("@port@", str(port)), ("@module@", str(module))):
        text = text.replace(token, value)
    config = folder / "nchan.conf"
    config.write_text(text, "utf-8")
    env = {"LD_LIBRARY_PATH": str(next(root.glob("usr/lib/*/libhiredis.so.*")).parent)}
    nginx = [str(root / "usr/sbin/nginx"), "-p", str(folder), "-c", str(config)]
    # Debian's nginx makes its compiled-in folders whatever the configuration says: give it a /var/lib of its own.
    script = 'mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *nginx]
    frame = plain_frame_options([port], CHANNEL)
    text_at = frame.index("--publish-text") + 1
    frame[text_at] = frame[text_at].removeprefix("PUB @ch@ ")
    frame[frame.index("--subscribe") + 1] = frame[frame.index("--acknowledged") + 1] = ""
    with _started("nchan", command, folder, port, env, folder) as pid:
        wait_for(lambda: bool(children(pid)), "nchan's worker")
        yield Server(
            "nchan",
            [port],
            children(pid),
            [*frame, "--path", f"/sub?id={CHANNEL}", "--publish-path", f"/pub?id={CHANNEL}"],
        )


@contextlib.contextmanager
def peer(name: str, installed: Path, folder: Path) -> Iterator[Server]:
    """One of PEERS, fresh."""
    if name == "soketi":
        running = soketi(installed, folder)
    elif name == "nchan":
        running = nchan(installed, folder)
    else:
        running = node_script(name, installed, folder)
    with running as server:
        yield server
