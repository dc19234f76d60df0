"""The whole platform on its own servers and ports: api, worker and two gateways by their real entry points."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_devstack.services import GATEWAY_COUNT, ServicePorts, service_specs

from .processes import ServiceProcess, run_module, running

APP_KEY = "sharedjox"
DEMO_PASSWORD = "password"


@dataclass(slots=True)
class Stack:
    """A running platform with the seed's data. Everything in it may be killed and started again."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    ports: ServicePorts
    env: dict[str, str]
    services: dict[str, ServiceProcess]

    @property
    def api(self) -> ServiceProcess:
        """The REST API."""
        return self.services["api"]

    @property
    def worker(self) -> ServiceProcess:
        """The arq worker."""
        return self.services["worker"]

    @property
    def gateways(self) -> list[ServiceProcess]:
        """The gateway processes; they share `ports.gateway`."""
        return [service for name, service in self.services.items() if name.startswith("gateway-")]

    @property
    def api_url(self) -> str:
        """Where the API answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def websocket_url(self) -> str:
        """Where a Pusher client connects."""
        return f"ws://127.0.0.1:{self.ports.gateway}/app/{APP_KEY}?protocol=7&client=test&version=1.0"

    async def log_in(self, email: str, password: str = DEMO_PASSWORD) -> Account:
        """Log in over REST; `email` may be short, as in `client`, for the demo accounts."""
        address = email if "@" in email else f"{email}@sharedjox.test"
        async with httpx.AsyncClient(base_url=self.api_url) as http:
            answer = await http.post("/api/auth/login", json={"email": address, "password": password})
        assert answer.status_code == 200, answer.text
        return Account(self.api_url, answer.json())


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who is logged in. `login` is the answer of the log-in request."""

    api_url: str
    login: dict[str, Any]

    @property
    def id(self) -> int:
        """User id."""
        user_id: int = self.login["user"]["id"]
        return user_id

    @property
    def token(self) -> str:
        """Access token."""
        token: str = self.login["accessToken"]
        return token

    def http(self) -> httpx.AsyncClient:
        """A client of the API that is authorized; close it (`async with`)."""
        return httpx.AsyncClient(base_url=self.api_url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)


@contextlib.contextmanager
def running_stack(
    folder: Path,
    *,
    gateways: int = GATEWAY_COUNT,
    extra_env: Mapping[str, str] | None = None,
    durable_servers: bool = False,
    reached_by: Callable[[str, str, int], int] | None = None,
) -> Iterator[Stack]:
    """Start own servers, migrate, seed, start the services, wait until all are ready; stop everything on leaving.

    `folder` gets data and logs. `extra_env` are settings for all services. Only durable servers keep all that
    they confirmed through a kill. `reached_by(service, server, port)` may give another port by which a service reaches
    `postgres` or `redis`: that of a proxy.
    """
    postgres = EmbeddedPostgres(folder / "postgres", free_port(), durable=durable_servers)
    # An append-only file lets a fault test kill Redis and find its data again.
    redis = EmbeddedRedis(folder / "redis", free_port(), durable=True, fsync_always=durable_servers)
    ports = ServicePorts(
        api=free_port(),
        gateway=free_port(),
        worker_metrics=free_port(),
        gateway_admin=tuple(free_port() for _ in range(gateways)),
    )
    with contextlib.ExitStack() as cleanup:
        for server in (postgres, redis):
            server.start()
            cleanup.callback(server.stop)
        url = postgres.create_database("sharedjox")
        env = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "API_HOST": "127.0.0.1",
            "REVERB_HOST": "127.0.0.1",
            "REVERB_PORT": str(ports.gateway),
            "DATA_DIR": str(folder),
        } | dict(extra_env or {})
        for action in ("migrate", "seed"):
            run_module("sharedjox_api.main", action, env=env)
        services = {
            spec.name: ServiceProcess(
                spec.name,
                spec.command,
                log_file=folder / f"{spec.name}.log",
                env=env | spec.env | _detour(spec.name, postgres, redis, url, reached_by),
                ready_port=spec.ready_port,
                ready_path=spec.ready_path,
            )
            for spec in service_specs(ports)
        }
        cleanup.enter_context(running(*services.values()))
        yield Stack(postgres, redis, ports, env, services)


def _detour(
    service: str,
    postgres: EmbeddedPostgres,
    redis: EmbeddedRedis,
    database_url: str,
    reached_by: Callable[[str, str, int], int] | None,
) -> dict[str, str]:
    if reached_by is None:
        return {}
    detours = {"REDIS_URL": redis.url.replace(f":{redis.port}/", f":{reached_by(service, 'redis', redis.port)}/")}
    if not service.startswith("gateway-"):  # gateways know nothing of Postgres
        port = reached_by(service, "postgres", postgres.port)
        detours["DATABASE_URL"] = database_url.replace(f":{postgres.port}/", f":{port}/")
    return detours
