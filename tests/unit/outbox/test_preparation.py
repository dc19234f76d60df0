import datetime as dt
import uuid

import pytest
from sharedjox_contracts.codec import encode_json
from sharedjox_contracts.events import decode_event
from sharedjox_contracts.frames import close_event_frame
from sharedjox_contracts.redis_layout import MAX_EVENTS_PER_CALL, HistoryLimits
from sharedjox_outbox.claims import Row
from sharedjox_outbox.preparation import CACHE_MS, ControlStep, EventStep, Plan, Preparer
from sharedjox_outbox.schema import SHARDS
from sharedjox_outbox.writer import shard_of

LIMITS = HistoryLimits()
WALLET = (
    '{"amount": 45.00, "userId": 3, "timestamp": "2026-02-21T10:30:00Z", "newBalance": 145.00,'
    ' "transactionType": "job_earning", "availableBalance": 145.00}'
)


def row(
    number: int,
    channel: str = "private-user.3",
    *,
    name: str = "wallet.updated",
    payload: str = WALLET,
    event_id: int | None = None,
) -> Row:
    return Row(
        id=number,
        event_id=uuid.UUID(int=event_id or number),
        channel=channel,
        event_name=name,
        payload=payload,
        except_socket_id=None,
        request_id=None,
        traceparent=None,
        created_at=dt.datetime(2026, 2, 21, 10, 30, 0, 123456, tzinfo=dt.UTC),
        attempts=0,
    )


def plan(*rows: Row, max_data_bytes: int = 1000) -> Plan:
    return Preparer(lambda _channel: LIMITS, max_data_bytes=max_data_bytes).plan(rows)


def test_payload_members_come_back_into_the_order_of_the_contract() -> None:
    """jsonb has its own order of members; subscribers see the document's."""
    (step,) = plan(row(1)).steps["private-user.3"]
    assert isinstance(step, EventStep)
    assert close_event_frame(step.events[0].opened_frame, epoch="e", offset=1) == (
        b'{"event":"wallet.updated","data":"{\\"userId\\":3,\\"newBalance\\":145.00,\\"availableBalance\\":145.00,'
        b'\\"transactionType\\":\\"job_earning\\",\\"amount\\":45.00,\\"timestamp\\":\\"2026-02-21T10:30:00Z\\"}",'
        b'"channel":"private-user.3","id":"00000000-0000-0000-0000-000000000001","epoch":"e","offset":1}'
    )
    assert step.events[0].header.committed_at_us == 1771669800123456


def test_a_channels_events_share_a_step_up_to_the_limit() -> None:
    count = MAX_EVENTS_PER_CALL * 2 + 1
    steps = plan(*(row(number) for number in range(1, count + 1))).steps["private-user.3"]
    assert [len(step.events) for step in steps if isinstance(step, EventStep)] == [
        MAX_EVENTS_PER_CALL,
        MAX_EVENTS_PER_CALL,
        1,
    ]
    ids = [event.row.id for step in steps if isinstance(step, EventStep) for event in step.events]
    assert ids == list(range(1, count + 1))


def test_control_rows_divide_a_channels_steps() -> None:
    control = row(2, name="access.changed", payload='{"channel": "private-user.3"}')
    steps = plan(row(1), control, row(3), row(4, "private-user.4")).steps
    assert [type(step) for step in steps["private-user.3"]] == [EventStep, ControlStep, EventStep]
    assert [type(step) for step in steps["private-user.4"]] == [EventStep]


def test_rejected_rows_leave_the_others_alone() -> None:
    result = plan(row(1), row(2, payload="{}"), row(3, name="job.exploded"), row(4, "a\n"), row(5))
    assert [rejected.id for rejected, _ in result.rejected] == [2, 3, 4]
    (step,) = result.steps["private-user.3"]
    assert isinstance(step, EventStep)
    assert [event.row.id for event in step.events] == [1, 5]


def test_the_size_limit_counts_bytes_of_the_data() -> None:
    data = len(encode_json(decode_event("wallet.updated", WALLET)))
    assert not plan(row(1), max_data_bytes=data).rejected
    assert len(plan(row(1), max_data_bytes=data - 1).rejected) == 1


def test_one_bad_channel_of_an_event_does_not_spoil_the_other() -> None:
    result = plan(row(1, "private-user.3", event_id=9), row(2, "a b", event_id=9))
    assert [rejected.id for rejected, _ in result.rejected] == [2]
    assert list(result.steps) == ["private-user.3"]


@pytest.mark.parametrize(("channel", "cache_ms"), [("cache-a", CACHE_MS), ("private-cache-a", CACHE_MS), ("a", 0)])
def test_cache_channels_remember(channel: str, cache_ms: int) -> None:
    (step,) = plan(row(1, channel)).steps[channel]
    assert isinstance(step, EventStep)
    assert step.cache_ms == cache_ms


def test_shards_are_stable_and_all_used() -> None:
    assert (shard_of("jobs.discovery"), shard_of("private-user.3")) == (9, 8)
    assert {shard_of(f"private-user.{number}") for number in range(500)} == set(range(SHARDS))
