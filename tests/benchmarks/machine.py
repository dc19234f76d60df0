"""The machine under a benchmark: who runs where, what it costs, and who else is busy."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1 if (os.cpu_count() or 1) > 1 else 0
TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE_KB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
_NICE: Final = -10
_ISOLATED: Final = "SHAREDJOX_BENCH_ISOLATED"


def isolate(module: str, arguments: Sequence[str]) -> None:
    """Start this program again in a network namespace of its own, where no other traffic and no firewall rule is.

    Where that is not allowed the benchmark runs as it is.
    """
    if os.environ.get(_ISOLATED) or not shutil.which("unshare"):
        return
    os.environ[_ISOLATED] = "1"
    script = 'ip link set lo up && exec "$@"'
    probe = subprocess.run(["unshare", "--net", "sh", "-c", script, "sh", "true"], capture_output=True, check=False)
    if probe.returncode == 0:
        sys.stdout.flush()
        command = ["unshare", "--net", "sh", "-c", script, "sh", sys.executable, "-m", module, *arguments]
        os.execvp(command[0], command)  # noqa: S606 - no shell in between but our own line above


def take_priority() -> None:
    """Run before other work of this machine, where we may: our session's share of the cores for the time of the run.

    Niceness alone only counts against processes of the same session (sched(7), "The autogroup feature").
    """
    group = Path("/proc/self/autogroup")
    with contextlib.suppress(OSError):
        before = group.read_text("utf-8").split()[-1]
        group.write_text(str(_NICE), "utf-8")
        atexit.register(_restore, group, before)


def give_priority(pid: int) -> None:
    """The same for a process in a session of its own, for as long as it runs."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICE), "utf-8")


def _restore(group: Path, nice: str) -> None:
    with contextlib.suppress(OSError):
        group.write_text(nice, "utf-8")


def pin(pid: int, core: int) -> None:
    """Keep a process, all of its threads, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def prefer(pid: int) -> None:
    """Let a process run as soon as it has something to do, whatever else its core does, where we may say so.

    Beside a busy process it would otherwise wait for the end of that one's slice, some milliseconds. It comes before
    those of `undisturbed` too.
    """
    _set_scheduler([pid], os.SCHED_RR, 2)


@contextlib.contextmanager
def undisturbed(pids: Sequence[int]) -> Iterator[None]:
    """Let nothing else take a core from these processes inside the block, and no core fall asleep, where we may say so.

    For loads that leave the cores mostly idle. The machine's own threads (memory management, agents) want some
    milliseconds once a second or so, and the scheduler gives them the core of whoever is at work, for a slice of 4 ms:
    that hits one in a hundred of 40 events a second, and a p99 tells whether it was one more or one less. And on a
    virtual machine whose cores slept between two events, everything took 1.5 times as long for a second now and then.
    """
    with contextlib.ExitStack() as stack:
        for core in {SERVER_CORE, CLIENT_CORE}:
            stack.enter_context(_kept_awake(core))
        _set_scheduler(pids, os.SCHED_RR, 1)
        stack.callback(_set_scheduler, pids, os.SCHED_OTHER, 0)
        yield


@contextlib.contextmanager
def _kept_awake(core: int) -> Iterator[None]:
    """A process that runs when nothing else wants to, and ends with us however we end."""
    program = f"import os\nwhile os.getppid() == {os.getpid()}: sum(range(10_000))"
    command = ["chrt", "--idle", "0", *on_core(core, [sys.executable, "-S", "-E", "-c", program])]
    with subprocess.Popen(command) as idler:
        try:
            yield
        finally:
            idler.kill()


def _set_scheduler(pids: Sequence[int], policy: int, priority: int) -> None:
    for pid in pids:
        with contextlib.suppress(PermissionError, FileNotFoundError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))


def children(pid: int) -> list[int]:
    """The processes that its main thread started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """A command line that starts `command` pinned."""
    return ["taskset", "-c", str(core), *command]


def cpu_times(pid: int) -> tuple[float, float]:
    """Seconds of a process in its own code, and in the kernel for it; without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, without its children."""
    return sum(cpu_times(pid))


def rss_kb(pid: int) -> int:
    """Resident memory in user space."""
    return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * PAGE_KB


def kernel_socket_kb() -> int:
    """Slab memory of the kernel: sockets, files, epoll items, of the whole machine."""
    for line in Path("/proc/meminfo").read_text("utf-8").splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1])
    return 0


@dataclass(frozen=True, slots=True)
class CpuUse:
    """`user_seconds` and `kernel_seconds` of the processes asked for; `foreign_cores` are busy with neither us nor our
    children."""

    wall_seconds: float
    user_seconds: float
    kernel_seconds: float
    foreign_cores: float

    @property
    def own_seconds(self) -> float:
        """Seconds in the processes' own code and in the kernel for them."""
        return self.user_seconds + self.kernel_seconds


class CpuMeter:
    """Measures from its making to `read`."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = list(pids)
        self._user, self._kernel = self._own_times()
        self._family = family_seconds(os.getpid())
        self._busy = _busy_seconds()
        self._began = time.monotonic()

    def _own_times(self) -> tuple[float, float]:
        times = [cpu_times(pid) for pid in self._pids]
        return sum(user for user, _ in times), sum(kernel for _, kernel in times)

    def read(self) -> CpuUse:
        """What was used since."""
        wall = time.monotonic() - self._began
        user, kernel = self._own_times()
        foreign = (_busy_seconds() - self._busy) - (family_seconds(os.getpid()) - self._family)
        return CpuUse(wall, user - self._user, kernel - self._kernel, round(max(foreign, 0.0) / wall, 3))


def _busy_seconds() -> float:
    """All cores: user, nice, system, interrupts."""
    fields = [int(field) for field in Path("/proc/stat").read_text("utf-8").split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / TICK


def family_seconds(ancestor: int) -> float:
    """User and system time of everything that descends from a process, the process itself included."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text("utf-8").rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                # With the time of children that have ended.
                seconds[int(entry.name)] = sum(int(field) for field in fields[11:15]) / TICK
    total = 0.0
    for pid, used in seconds.items():
        above = pid
        while above not in (0, 1, ancestor):
            above = parents.get(above, 0)
        total += used if above == ancestor else 0.0
    return total
