"""Password hashing with argon2id, off the event loop.

Source of the default parameters: OWASP Password Storage Cheat Sheet (argon2id, 19 MiB, 2 passes, 1 lane).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

MIN_PASSWORD_LENGTH: Final = 8
MAX_PASSWORD_LENGTH: Final = 200
"""Characters. The hash costs the same for any length; the limit only keeps bodies sane."""


class Passwords:
    """Hashes and verifies in a small thread pool of its own, so that log-ins cannot starve other threads' work.

    Each running hash takes `memory_kib`; `threads` bounds how many run at once. The owner calls `close`.
    """

    def __init__(self, *, time_cost: int = 2, memory_kib: int = 19_456, threads: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="argon2")
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """A fresh hash with its own salt and parameters inside."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password fits; costs the same when there is no user (`stored` None), so time tells nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, stored, password)

    def needs_rehash(self, stored: str) -> bool:
        """Whether `stored` was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str | None, password: str) -> bool:
        if self._decoy is None:
            self._decoy = self._hasher.hash("nobody's password")
        try:
            return self._hasher.verify(stored or self._decoy, password) and stored is not None
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
