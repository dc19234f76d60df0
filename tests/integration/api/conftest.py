"""An api of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import structlog

from .harness import Api, make_settings, open_api


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    """Plain lines for what matters: structlog's own default draws tracebacks for seconds."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(30),
        cache_logger_on_first_use=False,
    )


@pytest.fixture
async def api(postgres_url: str, redis_url: str) -> AsyncIterator[Api]:
    """The api on an empty, migrated database and an empty Redis."""
    async with open_api(make_settings(postgres_url, redis_url)) as opened:
        yield opened
