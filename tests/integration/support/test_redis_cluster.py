"""The cluster that tests move slots on does what it is told, however late its nodes hear of each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.redis_cluster import running_cluster


@pytest.mark.parametrize("loses_messages", [False, True])
def test_a_slot_goes_back_and_forth(tmp_path: Path, loses_messages: bool) -> None:
    with running_cluster(tmp_path, durable=False) as cluster:
        home, away, _ = cluster.masters
        for target in (away, home) * 25:
            if loses_messages:
                home.lose_messages(away)
                away.lose_messages(home)
            cluster.move_slot(100, target)
            assert [cluster.owner(100, teller) for teller in cluster.masters] == [target] * 3
