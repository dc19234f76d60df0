"""Running `sharedjox` as an operator would."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass

from .processes import python_module


@dataclass(frozen=True, slots=True)
class Said:
    """What a command wrote and how it left."""

    status: int
    out: str
    err: str


async def sharedjox(*arguments: str, env: Mapping[str, str]) -> Said:
    """Run the command to its end; `env` says where the platform is."""
    process = await asyncio.create_subprocess_exec(
        *python_module("sharedjox_operator.main"),
        *arguments,
        env=dict(os.environ) | dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())
