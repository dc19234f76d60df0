"""Passwords and the rules of accounts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from sharedjox_marketplace.accounts.passwords import Passwords
from sharedjox_marketplace.accounts.rules import normalize_email, normalize_skills
from sharedjox_marketplace.database import asyncpg_url


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(time_cost=1, memory_kib=64, threads=2)
    yield made
    made.close()


async def test_verification_refuses(passwords: Passwords) -> None:
    stored = await passwords.hash("secret")
    for given in ("Secret", "", "secret "):
        assert not await passwords.verify(stored, given)
    assert not await passwords.verify(None, "secret")
    assert not await passwords.verify(None, "nobody's password")
    assert not await passwords.verify("no hash at all", "secret")


async def test_verification_accepts_and_hashes_differ(passwords: Passwords) -> None:
    one, other = await passwords.hash("secret"), await passwords.hash("secret")
    assert one != other
    assert await passwords.verify(one, "secret")
    assert await passwords.verify(other, "secret")


async def test_new_parameters_ask_for_a_rehash(passwords: Passwords) -> None:
    stored = await passwords.hash("secret")
    assert not passwords.needs_rehash(stored)
    stronger = Passwords(time_cost=2, memory_kib=128, threads=1)
    assert stronger.needs_rehash(stored)
    stronger.close()


async def test_hashing_leaves_the_loop_free() -> None:
    slow = Passwords(time_cost=3, memory_kib=65_536, threads=1)
    hashing = asyncio.create_task(slow.hash("secret"))
    longest, last = 0.0, time.perf_counter()
    while not hashing.done():
        await asyncio.sleep(0)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    started = time.perf_counter()
    await slow.hash("secret")
    assert longest < (time.perf_counter() - started)
    slow.close()


def test_normalizing() -> None:
    assert normalize_email("  Ada@Example.TEST ") == "ada@example.test"
    assert normalize_skills([" React", "react", "", "  ", "TypeScript"]) == ["react", "typescript"]


@pytest.mark.parametrize("url", ["", "mysql://x", "postgresql", "sqlite:///x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="Postgres URL"):
        asyncpg_url(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_usual_urls_are_accepted(scheme: str) -> None:
    assert asyncpg_url(f"{scheme}://app@h/d") == "postgresql+asyncpg://app@h/d"
