"""Webhooks through the worker's real process, from settings alone; killed in between."""

from __future__ import annotations

from pathlib import Path

from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import pusher_client, running_gateways
from tests.support.polling import eventually
from tests.support.processes import ServiceProcess, python_module, running
from tests.support.webhook_receiver import webhook_receiver


async def test_a_worker_that_is_killed_loses_no_webhook(
    tmp_path: Path, redis_server: EmbeddedRedis, postgres_url: str
) -> None:
    async with webhook_receiver() as receiver:
        port = free_port()
        env = {
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis_server.url,
            "WEBHOOK_URLS": receiver.url,
            "WEBHOOK_ALLOW_PRIVATE": "true",
            "WORKER_METRICS_PORT": str(port),
        }
        worker = ServiceProcess(
            "worker",
            python_module("sharedjox_worker.main"),
            log_file=tmp_path / "worker.log",
            env=env,
            ready_port=port,
        )
        with running_gateways(tmp_path, redis_server.url, count=1, env={"WEBHOOK_URLS": receiver.url}) as (node,):
            async with pusher_client(node.port) as client:
                with running(worker):
                    await client.subscribe("presence-worker", user_id=1)
                    await receiver.wait_events(2)
                    receiver.will_answer(503)
                    await client.subscribe("second")
                    await eventually(lambda: not receiver.answers, 10, what="one request failed")
                    worker.kill()
                    await client.subscribe("third")
                    worker.start()
                    # The lock of the killed worker has to run out first.
                    await receiver.wait_events(1 + 3, "channel_occupied", deadline=40)
        channels = [event["channel"] for event in receiver.events("channel_occupied")]
        assert channels == ["presence-worker", "second", "second", "third"], "the failed one again, and all in order"
