"""The terminal may stand still or hang up; the stack goes on and the files have every line."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest
from sharedjox_devstack import output
from sharedjox_devstack.output import Console, LogFile

from tests.support.polling import eventually_sync


class HungUp(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(5, os.strerror(5))


def test_hung_up_terminal_is_ignored() -> None:
    console = Console(HungUp())
    console.say("nobody reads this")
    console.say("nor this")
    console.close()


def test_standing_terminal_drops_lines_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "QUEUE_LINES", 5)
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    seen: list[str] = []
    with os.fdopen(write_end, "w", encoding="utf-8") as pipe:
        console = Console(pipe)
        for _ in range(200):
            console.show("api", "x" * 4096)

        def told() -> bool:
            with contextlib.suppress(BlockingIOError):
                seen.append(os.read(read_end, 65536).decode())
            console.say("again")
            return "lines left out here" in "".join(seen)

        eventually_sync(told)
        os.close(read_end)
        console.close()
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def test_service_lines_carry_the_name_and_no_colours_in_files(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.show("api", "\x1b[31mred\x1b[0m")
    console.close()
    assert stream.getvalue() == "api       | red\n"
    log = LogFile(tmp_path / "log" / "api.log")
    log.write("\x1b[31mred\x1b[0m")
    log.close()
    assert (tmp_path / "log" / "api.log").read_text(encoding="utf-8") == "red\n"


def test_full_log_is_kept_beside_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "ROTATE_BYTES", 100)
    log = LogFile(tmp_path / "api.log")
    for number in range(30):
        log.write(f"line {number} of some length")
    log.close()
    kept = (tmp_path / "api.log.1").read_text(encoding="utf-8") + (tmp_path / "api.log").read_text(encoding="utf-8")
    assert "line 29" in kept
    assert len(kept) < 400
