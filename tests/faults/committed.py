"""What was committed: the truth that every delivery is compared with."""

from __future__ import annotations

from collections import defaultdict

import asyncpg
from sharedjox_outbox.postgres import asyncpg_address


class CommitLog:
    """Event ids by channel in commit order. Follows the outbox, which may be pruned between two looks."""

    def __init__(self, database_url: str) -> None:
        self.ids: dict[str, list[str]] = defaultdict(list)
        self._address = asyncpg_address(database_url)
        self._newest: dict[str, int] = {}

    async def follow(self, *channels: str) -> None:
        """Add what these channels got since the last look. A channel's row ids are in commit order."""
        connection = await asyncpg.connect(self._address)
        try:
            for channel in channels:
                rows = await connection.fetch(
                    "SELECT id, event_id FROM outbox_messages WHERE channel = $1 AND id > $2 ORDER BY id",
                    channel,
                    self._newest.get(channel, 0),
                )
                self.ids[channel] += [str(row["event_id"]) for row in rows]
                if rows:
                    self._newest[channel] = rows[-1]["id"]
        finally:
            await connection.close()
