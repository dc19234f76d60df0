"""The README's five minutes, word by word, on a real stack."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.markdown import code_blocks
from tests.support.polling import eventually, scaled
from tests.support.processes import REPOSITORY, clean_environment
from tests.support.stack import Stack

README = REPOSITORY / "README.md"
SECTION = "Five minutes"


class Terminal:
    """A shell that gets one block after the other, as a person would paste them."""

    def __init__(self, shell: asyncio.subprocess.Process, screen: Path) -> None:
        self._shell = shell
        self._screen = screen
        self._blocks = 0

    @property
    def output(self) -> str:
        return self._screen.read_text(encoding="utf-8")

    async def run(self, block: str) -> None:
        self._blocks += 1
        marker = f"__block_{self._blocks}_done__"
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{block}\necho {marker} $?\n".encode())
        await self._shell.stdin.drain()
        await self.wait_for(f"{marker} 0")

    async def wait_for(self, text: str) -> None:
        await eventually(lambda: text in self.output, 60, what=f"{text!r} on the screen:\n{self.output}")


@contextlib.asynccontextmanager
async def terminal(screen: Path, env: dict[str, str]) -> AsyncIterator[Terminal]:
    with screen.open("wb") as output:
        shell = await asyncio.create_subprocess_exec(
            "bash", stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output, cwd=REPOSITORY, env=env
        )
    try:
        yield Terminal(shell, screen)
    finally:
        assert shell.stdin is not None
        shell.stdin.close()
        await asyncio.wait_for(shell.wait(), scaled(10))


async def test_tour_prints_what_the_readme_shows(stack: Stack, tmp_path: Path) -> None:
    blocks = code_blocks(README, section=SECTION)
    commands = [block.text for block in blocks if block.language == "sh"]
    (promised,) = [block.text for block in blocks if block.language == "text"]
    env = clean_environment({"API_URL": stack.api_url, "REVERB_PORT": str(stack.ports.gateway)})
    async with terminal(tmp_path / "screen", env) as shell:
        for number, block in enumerate(commands[:-1]):
            await shell.run(block)
            await shell.wait_for(["listening", "", "follows private-job", "", "145"][number])
        await eventually(lambda: all_shown(shell.output, promised))
        await shell.run(commands[-1])


def all_shown(screen: str, promised: str) -> bool:
    """Every promised line is on the screen; `…` stands for anything."""
    lines = screen.splitlines()
    missing = [one for one in promised.splitlines() if not any(_in_order(line, one.split("…")) for line in lines)]
    assert missing == [], screen
    return True


def _in_order(line: str, parts: list[str]) -> bool:
    place = 0
    for part in parts:
        place = line.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True
