"""`make up`: everything on one machine, in order, with progress; and its end."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from . import preflight
from .errors import DevstackError
from .output import Console, LogFile
from .ports import http_status
from .postgres import EmbeddedPostgres
from .process import ManagedProcess, tethered
from .redis import EmbeddedRedis
from .services import ServiceSpec, api_command, service_specs
from .settings import Environment, StackSettings
from .supervisor import Supervised, Supervisor
from .web_build import WebApp, require_node

DATABASE: Final = "sharedjox"
DEFAULT_APP_KEY: Final = "sharedjox"
USUAL_GATEWAY_PORT: Final = 8080
READY_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = "1"
"""On a laptop Ctrl-C should not take the ten seconds in which a real gateway sends its clients elsewhere."""
REMEMBERED_LINES: Final = 30
DEMO_ACCOUNTS: Final = ("client@sharedjox.test", "freelancer@sharedjox.test", "operator@sharedjox.test")
HTTP_OK: Final = 200
QUIET: Final = frozenset({"postgres", "redis", "web", "migrate", "seed"})
COMPLAINTS: Final = ("ERROR:", "PANIC:", "Error", "OOM", "MISCONF", "Fatal", "Bad file format")


@dataclass(slots=True)
class _Output:
    """Where one process's lines go: terminal, file, and memory for the message when it fails."""

    name: str
    console: Console
    file: LogFile
    newest: deque[str]
    quiet: bool
    """Whether only complaints reach the terminal: servers and builds talk much when all is well."""

    def __call__(self, line: str) -> None:
        self.newest.append(line)
        self.file.write(line)
        if not self.quiet or any(word in line for word in COMPLAINTS):
            self.console.show(self.name, line)


class Stack:
    """One run of the platform. `stop_requested` counts how often the person asked to end."""

    def __init__(
        self, repository: Path, environment: Environment, console: Console, stop_requested: Callable[[], int]
    ) -> None:
        self._repository = repository
        self._environment = environment
        self._console = console
        self._settings: StackSettings = environment.settings()
        self._data_dir = self._settings.data_folder(repository)
        self._outputs: dict[str, _Output] = {}
        self._stop_requested = stop_requested

    def run(self) -> None:
        """Start, supervise until the person ends it, stop.

        Raises: DevstackError when it cannot start; StopRequested when it was ended before it was ready.
        """
        started = time.monotonic()
        web = WebApp(self._repository)
        self._check_tools(web)
        run_dir = preflight.prepare_data_dir(self._data_dir)
        with preflight.only_stack(run_dir):
            preflight.end_leftovers(run_dir, self._console.say)
            with preflight.chosen_ports(self._settings, self._console.say) as ports:
                self._run_on(ports, run_dir, web, started)

    def _run_on(self, ports: preflight.StackPorts, run_dir: Path, web: WebApp, started: float) -> None:
        supervisor = Supervisor(run_dir, say=self._console.say, stop_requested=self._stop_requested)
        try:
            env = self._start_servers(supervisor, ports, run_dir)
            self._migrate_and_seed(supervisor, env)
            env |= self._build_web(supervisor, web, env)
            self._start_services(supervisor, ports, env)
            self._announce(ports, env, time.monotonic() - started)
            supervisor.watch()
        finally:
            supervisor.stop(["gateway-1", "gateway-2"], ["api", "worker"], ["redis"], ["postgres"])
            self._console.say("stopped; the data is kept")

    def _check_tools(self, web: WebApp) -> None:
        preflight.require_python()
        if self._settings.web_build and web.exists:
            require_node()
        if self._settings.database_url:
            preflight.require_database(self._settings.database_url)
        if self._settings.redis_url:
            preflight.require_redis(self._settings.redis_url)

    def _output(self, name: str) -> _Output:
        if name not in self._outputs:
            file = LogFile(self._data_dir / "log" / f"{name}.log")
            self._outputs[name] = _Output(name, self._console, file, deque(maxlen=REMEMBERED_LINES), name in QUIET)
        return self._outputs[name]

    def _start_servers(self, supervisor: Supervisor, ports: preflight.StackPorts, run_dir: Path) -> dict[str, str]:
        """Start what is embedded; returns the environment of the services."""
        env = (
            {"DRAIN_SECONDS": DRAIN_SECONDS}
            | dict(self._environment.variables)
            | {
                "API_HOST": self._settings.api_host,
                "API_PORT": str(self._settings.api_port),
                "REVERB_HOST": self._settings.reverb_host,
                "REVERB_PORT": str(self._settings.reverb_port),
                "DATA_DIR": str(self._data_dir),
                "LOG_FORMAT": self._settings.log_format,
                "PYTHONUNBUFFERED": "1",
                preflight.MARKER: str(run_dir),
            }
        )
        if ports.postgres is not None:
            env["DATABASE_URL"] = self._start_postgres(supervisor, ports.postgres)
        if ports.redis is not None:
            env["REDIS_URL"] = self._start_redis(supervisor, ports.redis)
        return env

    def _start_postgres(self, supervisor: Supervisor, port: int) -> str:
        output = self._output("postgres")
        server = EmbeddedPostgres(self._data_dir / "postgres", port, durable=True, output=output)
        if server.initialize():
            self._console.say(f"made a Postgres cluster in {server.data_dir}")
        child = Supervised(server.process, server.is_ready, before_start=server.stop_leftover, last_lines=output.newest)
        supervisor.start(child, seconds=READY_SECONDS)
        server.ensure_database(DATABASE)
        self._console.say(f"Postgres is ready on 127.0.0.1:{port}")
        return server.url(DATABASE)

    def _start_redis(self, supervisor: Supervisor, port: int) -> str:
        output = self._output("redis")
        server = EmbeddedRedis(self._data_dir / "redis", port, durable=True, output=output)
        server.initialize()
        child = Supervised(server.process, server.is_ready, last_lines=output.newest)
        supervisor.start(child, seconds=READY_SECONDS)
        self._console.say(f"Redis is ready on 127.0.0.1:{port}")
        return server.url

    def _migrate_and_seed(self, supervisor: Supervisor, env: dict[str, str]) -> None:
        for action, hint in (
            ("migrate", "the database may come from another version: set DATA_DIR to a new folder, or DATABASE_URL"),
            ("seed", "set DATA_DIR to a new folder to start from nothing"),
        ):
            output = self._output(action)
            step = _step(action, api_command(action), output, self._repository, env)
            status = supervisor.run_to_end(step, progress=partial(self._say_seconds, action))
            if status != 0:
                refusals = [line.removeprefix("error: ") for line in output.newest if line.startswith("error: ")]
                reason = "; ".join(refusals) or (output.newest[-1] if output.newest else f"status {status}")
                msg = f"{action} failed: {reason}" + ("" if refusals else f" ({hint})")
                raise DevstackError(msg)
            self._console.say(f"{action}: {output.newest[-1] if output.newest else 'done'}")

    def _say_seconds(self, what: str, seconds: float) -> None:
        self._console.say(f"  {what}: {seconds:.0f} s so far")

    def _build_web(self, supervisor: Supervisor, web: WebApp, env: dict[str, str]) -> dict[str, str]:
        if not self._settings.web_build or not web.exists:
            why = "WEB_BUILD=false" if web.exists else "no app in web/"
            self._console.say(f"web app: not built ({why})")
            return {}
        self._console.say("web app: checking the build")

        def run_step(name: str, command: list[str], folder: Path) -> int:
            self._console.say(f"web app: {' '.join(command[:3])} (the first time takes a minute)")
            output = self._output(name)
            step = _step(name, command, output, folder, dict(self._environment.variables))
            status = supervisor.run_to_end(step, progress=partial(self._say_seconds, "web app"))
            if status != 0:
                self._console.say("\n".join(output.newest))
            return status

        done = web.build(run_step)
        self._console.say("web app: built" if done else "web app: up to date")
        served = self._data_dir / "web"
        web.publish(served, config=self._web_config(env))
        return {"WEB_DIST_DIR": str(served)}

    def _web_config(self, env: dict[str, str]) -> dict[str, str]:
        """What the page cannot find out by itself: it takes port 8080 of its own host unless told otherwise."""
        config = {"appKey": env.get("REVERB_APP_KEY", DEFAULT_APP_KEY)}
        if self._settings.reverb_port != USUAL_GATEWAY_PORT:
            config["websocketUrl"] = f"ws://{_shown(self._settings.reverb_host)}:{self._settings.reverb_port}"
        return config

    def _start_services(self, supervisor: Supervisor, ports: preflight.StackPorts, env: dict[str, str]) -> None:
        specs = service_specs(ports.services)
        self._console.say(f"starting {', '.join(spec.name for spec in specs)}")
        children = [self._supervised(spec, env) for spec in specs]
        supervisor.start(*children, seconds=READY_SECONDS)

    def _supervised(self, spec: ServiceSpec, env: dict[str, str]) -> Supervised:
        output = self._output(spec.name)
        process = ManagedProcess(
            spec.name,
            tethered(spec.command, death_signal=signal.SIGKILL),
            output=output,
            env=env | spec.env,
            cwd=self._repository,
            stop_seconds=20.0,
        )
        return Supervised(
            process, lambda: http_status(spec.ready_port, spec.ready_path) == HTTP_OK, last_lines=output.newest
        )

    def _announce(self, ports: preflight.StackPorts, env: dict[str, str], seconds: float) -> None:
        api = f"http://{_shown(self._settings.api_host)}:{ports.services.api}"
        gateway = f"{_shown(self._settings.reverb_host)}:{ports.services.gateway}"
        metrics = [ports.services.worker_metrics, *ports.services.gateway_admin]
        lines = [
            "",
            f"  web app      {api}/" if "WEB_DIST_DIR" in env else "  web app      not built",
            f"  REST API     {api}/api/docs",
            f"  WebSocket    ws://{gateway}/app/{env.get('REVERB_APP_KEY', DEFAULT_APP_KEY)}   (two gateway processes)",
            f"  metrics      {api}/metrics, " + ", ".join(f"http://127.0.0.1:{port}/metrics" for port in metrics),
            f"  Postgres     {_without_password(env['DATABASE_URL'])}",
            f"  Redis        {_without_password(env['REDIS_URL'])}",
            f"  data, logs   {self._data_dir}",
            "",
            f"  log in as    {', '.join(DEMO_ACCOUNTS)}   (password: password)",
            "",
            f"ready after {seconds:.1f} s; Ctrl-C stops everything, `make down` does from elsewhere",
        ]
        self._console.say("\n".join(lines))


def _step(
    name: str, command: list[str], output: Callable[[str], None], cwd: Path, env: dict[str, str]
) -> ManagedProcess:
    return ManagedProcess(
        name, tethered(command, death_signal=signal.SIGKILL), output=output, env=env, cwd=cwd, stop_seconds=2.0
    )


def _shown(host: str) -> str:
    """A host that a browser on this machine can open."""
    return "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host  # noqa: S104 - compared, not bound


def _without_password(url: str) -> str:
    """As psql and redis-cli take it: without the driver's name."""
    scheme, _, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme.partition('+asyncpg')[0]}://{user.partition(':')[0]}{at}{place}"
