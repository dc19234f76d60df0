"""What unmodified pusher-js does when it is refused: it stops for good, or comes back after a second."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from tests.support.gateway import APP, TestApp, open_pusher, running_gateways
from tests.support.node_client import node_client
from tests.support.polling import eventually


async def test_a_full_node_is_tried_again_after_a_second_and_an_unknown_or_disabled_app_never(
    tmp_path: Path, redis_url: str
) -> None:
    apps = [APP.config(), TestApp("2", "closed", "s").config(enabled=False)]
    with running_gateways(tmp_path, redis_url, count=1, apps=apps, env={"MAX_CONNECTIONS": "1"}) as (node,):
        only_place = await open_pusher(node.port)
        stock = partial(
            node_client, node.port, library="pusher", options={"enabledTransports": ["ws"]}, connected=False
        )
        async with stock(key="nobody") as unknown, stock(key="closed") as disabled, stock() as waiting:
            await unknown.wait_state("disconnected")
            await disabled.wait_state("disconnected")
            await eventually(lambda: waiting.errors, 10, what="refused once")
            began = time.monotonic()
            await eventually(lambda: len(waiting.errors) >= 3, 10, what="refused three times")
            assert time.monotonic() - began > 1.5, "a second lies between its attempts"
            await only_place.close()
            await waiting.wait_state("connected")
            assert {error["code"] for error in waiting.errors} == {4100}
            # In the time of three attempts of the one that may come back, the others made no second one.
            assert [error["code"] for error in unknown.errors] == [4001]
            assert [error["code"] for error in disabled.errors] == [4003]
            assert unknown.states[-1] == disabled.states[-1] == "disconnected"
