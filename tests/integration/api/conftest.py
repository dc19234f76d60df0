"""An api of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .harness import Api, make_settings, open_api


@pytest.fixture
async def api(postgres_url: str, redis_url: str) -> AsyncIterator[Api]:
    """The api on an empty, migrated database and an empty Redis."""
    async with open_api(make_settings(postgres_url, redis_url)) as opened:
        yield opened
