"""A seeded api in a process of its own, for tests that speak HTTP to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

ROLES = ("client", "freelancer", "operator")


@dataclass(frozen=True, slots=True)
class Served:
    """A seeded api in a process of its own."""

    url: str

    def log_in(self, role: str) -> dict[str, Any]:
        """What a demo user sends to log in."""
        return {"email": f"{role}@sharedjox.test", "password": "password"}

    def token(self, role: str) -> str:
        """Log in as one of the demo users."""
        answer = httpx.post(f"{self.url}/api/auth/login", json=self.log_in(role), timeout=30)
        token: str = answer.json()["accessToken"]
        return token
