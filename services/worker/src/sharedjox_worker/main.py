"""`sharedjox-worker`: one worker process; start as many as needed."""

from __future__ import annotations

import asyncio
import logging
import signal

import uvloop
from sharedjox_kit.environment import load_settings
from sharedjox_kit.logs import configure_logging

from .app import WorkerApp
from .settings import WorkerSettings


def main() -> None:
    """Read the settings and work until SIGTERM or SIGINT."""
    settings = load_settings(WorkerSettings)
    configure_logging(service="worker", level=settings.log_level, form=settings.log_format)
    # arq writes two lines for every task; the relay's own figures say the same with less.
    logging.getLogger("arq").setLevel(logging.WARNING)
    uvloop.run(_serve(settings))


async def _serve(settings: WorkerSettings) -> None:
    app = WorkerApp(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.request_stop)
    await app.run()


if __name__ == "__main__":
    main()
