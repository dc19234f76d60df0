"""`make up` as a person meets it: what it refuses, what it keeps, what it leaves behind (nothing)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sharedjox_devstack.ports import free_port, http_status
from sharedjox_devstack.process import ManagedProcess, is_alive, tethered

from tests.support.polling import eventually_sync, scaled
from tests.support.processes import REPOSITORY, clean_environment

PROCESSES = {"api", "worker", "gateway-1", "gateway-2", "postgres", "redis"}
UP = [sys.executable, "-m", "sharedjox_devstack.main", "up"]
DOWN = [*UP[:-1], "down"]


class Run:
    """One `sharedjox-devstack up` on ports and a data folder of its own."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.api_port = free_port()
        names = ("REVERB_PORT", "WORKER_METRICS_PORT", "POSTGRES_PORT", "REDIS_PORT")
        ports = {name: str(free_port()) for name in names} | {"API_PORT": str(self.api_port)}
        self.env = clean_environment(
            {"APP_ENV": "development", "DATA_DIR": str(data_dir), "WEB_BUILD": "false"} | ports | settings
        )
        self.log = data_dir.with_name(f"{data_dir.name}-{self.api_port}.log")
        self.process = ManagedProcess(
            "up",
            tethered(UP, death_signal=signal.SIGKILL),
            output=self.log,
            env=self.env,
            cwd=REPOSITORY,
            stop_seconds=scaled(40),
        )

    @property
    def text(self) -> str:
        return self.process.log_text

    def start(self) -> None:
        inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests under nohup would hand on that it is ignored
        try:
            self.process.start()
        finally:
            signal.signal(signal.SIGHUP, inherited)
        eventually_sync(self.is_ready, 90, what="ready")

    def is_ready(self) -> bool:
        if not self.process.is_running:
            raise RuntimeError(self.text)
        return "\nready after " in self.text

    def pids(self) -> dict[str, int]:
        found = {}
        for file in (self.data_dir / "run").glob("*.pid"):
            found[file.stem] = int(file.read_text(encoding="ascii"))
        return found

    def end(self, number: signal.Signals = signal.SIGINT) -> int | None:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int | None:
        """How it left, told to end by somebody else. A signal of ours could meet it without its handlers already."""
        self.process.finish_stop()
        return self.process.returncode

    def refusal(self) -> str:
        """Run to an end that comes by itself; returns what was printed."""
        done = subprocess.run(
            UP, env=self.env, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=scaled(60)
        )
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout

    def down(self) -> subprocess.CompletedProcess[str]:
        """`make down` in another terminal."""
        return subprocess.run(
            DOWN, env=self.env, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=scaled(90)
        )

    def log_in(self, email: str) -> int:
        answer = httpx.post(
            f"http://127.0.0.1:{self.api_port}/api/auth/login", json={"email": email, "password": "password"}
        )
        return answer.status_code


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("up") / "data")
    run.start()
    yield run
    assert run.end(signal.SIGINT) == 0, run.text


def test_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    run = Run(tmp_path / "data")
    with socket.create_server(("127.0.0.1", run.api_port)):
        refusal = run.refusal()
    assert f"error: port {run.api_port} is taken by" in refusal
    assert f"(pid {os.getpid()}): stop that, or set API_PORT to another port" in refusal
    assert not (run.data_dir / "postgres").exists()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("API_PORT", "http", "bad setting API_PORT=http: Input should be a valid integer"),
        ("REVERB_PORT", "70000", "bad setting REVERB_PORT=70000: Input should be less than or equal to 65535"),
        ("REDIS_URL", "redis://127.0.0.1:1", "REDIS_URL: no Redis at 127.0.0.1:1"),
        ("DATABASE_URL", "postgresql://app:hush@127.0.0.1:1/x", "DATABASE_URL: no Postgres at 127.0.0.1:1"),
        ("PLATFORM_FEE_PERCENT", "much", "PLATFORM_FEE_PERCENT: "),
        ("DRAIN_SECONDS", "-1", ": DRAIN_SECONDS: "),
        ("APP_ENV", "production", "sample secret"),
    ],
)
def test_bad_setting_is_named(tmp_path: Path, name: str, value: str, told: str) -> None:
    refusal = Run(tmp_path / "data", **{name: value}).refusal()
    errors = [line for line in refusal.splitlines() if line.startswith("error: ")]
    assert any(told in line for line in errors), refusal
    assert "hush" not in refusal
    assert "Traceback" not in refusal


def test_down_has_nothing_to_stop_where_nothing_runs(tmp_path: Path) -> None:
    done = Run(tmp_path / "data").down()
    assert (done.returncode, done.stdout) == (0, f"no stack runs on {tmp_path / 'data'}\n")


def test_all_processes_are_named_and_alive(started: Run) -> None:
    pids = started.pids()
    assert set(pids) == PROCESSES
    assert all(is_alive(pid) for pid in pids.values())
    assert http_status(started.api_port, "/readyz") == 200


def test_seeded_people_can_log_in(started: Run) -> None:
    for name in ("client", "freelancer", "operator"):
        assert started.log_in(f"{name}@sharedjox.test") == 200


def test_second_stack_on_the_same_folder_is_refused(started: Run) -> None:
    assert "error: a stack already runs on" in Run(started.data_dir).refusal()
    assert http_status(started.api_port, "/readyz") == 200


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_killed_process_is_started_again(started: Run, name: str) -> None:
    before = started.pids()[name]
    os.kill(before, signal.SIGKILL)

    def replaced() -> bool:
        after = started.pids()[name]
        return after != before and is_alive(after) and started.text.count(f"{name} is ready again (pid {after})") == 1

    eventually_sync(replaced, 30, what=f"{name} runs again")
    assert f"{name} ended (signal 9); starting it again" in started.text


def test_end_leaves_no_process_and_the_next_run_has_the_data(tmp_path: Path) -> None:
    run = Run(tmp_path / "data")
    run.start()
    person = {"name": "Ada", "email": "ada@example.org", "password": "password", "role": "client"}
    answer = httpx.post(f"http://127.0.0.1:{run.api_port}/api/auth/register", json=person)
    assert answer.status_code == 201, answer.text
    pids = run.pids()
    assert run.end(signal.SIGHUP) == 0, run.text
    assert [name for name, pid in pids.items() if is_alive(pid)] == []
    assert run.pids() == {}

    again = Run(tmp_path / "data")
    again.start()
    assert again.log_in("ada@example.org") == 200
    pids = again.pids()
    done = again.down()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "stopped; the data is kept"), done.stderr
    assert again.ended() == 0, again.text
    assert [name for name, pid in pids.items() if is_alive(pid)] == []


def test_killed_supervisor_leaves_no_process_and_the_next_run_starts(tmp_path: Path) -> None:
    run = Run(tmp_path / "data")
    run.start()
    pids = run.pids()
    os.kill(pids["worker"], signal.SIGSTOP)
    run.process.kill()
    eventually_sync(lambda: not any(is_alive(pid) for pid in pids.values()), 20, what="all processes ended")

    again = Run(tmp_path / "data")
    again.start()
    assert again.log_in("client@sharedjox.test") == 200
    # A hung service cannot keep the stack from ending: asking twice forces it.
    pids = again.pids()
    os.kill(pids["gateway-1"], signal.SIGSTOP)
    again.process.send_signal(signal.SIGTERM)
    eventually_sync(lambda: "stopping gateway-1" in again.text)
    assert again.end(signal.SIGTERM) == 0
    assert "gateway-1 did not stop: killed" in again.text
    assert [name for name, pid in pids.items() if is_alive(pid)] == []
