"""`sharedjox drain`: one gateway sends its clients elsewhere and ends; its supervisor starts it again, empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis
from sharedjox_contracts.control import Drain, encode_command
from sharedjox_contracts.redis_layout import control_topic
from sharedjox_kit.processes import ProcessReport, read_reports

from .errors import OperatorError

_ASK_EVERY_SECONDS: Final = 1.0


async def drain(redis: Redis, name: str, *, alone: bool, seconds: float, say: Callable[[str], object]) -> None:
    """Tell the gateway whose id begins with `name` to drain, and wait until it is empty and gone.

    Raises: OperatorError when no gateway or several have that name, when no other one could take its clients (unless
    `alone`), or when it is not gone after `seconds`.
    """
    chosen, others = _choose(await _gateways(redis), name)
    if not others and not alone:
        msg = f"{chosen.id} is the only gateway that takes connections; --alone drains it all the same"
        raise OperatorError(msg)
    topic = control_topic(next(iter(chosen.apps)))
    deadline, told = time.monotonic() + seconds, -1
    while time.monotonic() < deadline:
        now = next((one for one in await _gateways(redis) if one.id == chosen.id), None)
        if now is None:
            say(f"{chosen.id} is empty and has ended")
            return
        if not now.state.get("draining"):
            # Commands are heard or lost: said again until the process shows that it heard.
            await redis.publish(topic, encode_command(Drain(chosen.id)))
        if (left := now.state.get("connections", 0)) != told:
            say(f"{chosen.id}: {left} connections")
            told = left
        await asyncio.sleep(_ASK_EVERY_SECONDS)
    msg = f"{chosen.id} is not empty after {seconds:g} s: DRAIN_SECONDS may be longer, see its log"
    raise OperatorError(msg)


async def _gateways(redis: Redis) -> list[ProcessReport]:
    return [one.report for one in await read_reports(redis) if one.report.service == "gateway"]


def _choose(gateways: list[ProcessReport], name: str) -> tuple[ProcessReport, list[ProcessReport]]:
    named = [one for one in gateways if one.id.startswith(name)]
    if len(named) != 1:
        known = ", ".join(one.id for one in gateways) or "none"
        msg = f"{'no gateway is' if not named else 'several gateways are'} called {name}; those that live: {known}"
        raise OperatorError(msg)
    (chosen,) = named
    return chosen, [one for one in gateways if one is not chosen and not one.state.get("draining")]
