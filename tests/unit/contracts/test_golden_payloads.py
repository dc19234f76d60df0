"""The payloads of the architecture document, character for character where JSON allows."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import jsonschema
import msgspec
import pytest
from sharedjox_contracts.codec import encode_json
from sharedjox_contracts.events import (
    EVENT_TYPES,
    JobClaimed,
    JobPosted,
    JobUpdated,
    Payload,
    PostedJob,
    UnknownEventError,
    WalletUpdated,
    decode_event,
)
from sharedjox_contracts.schema_export import event_schema

GOLDEN = Path(__file__).parent / "golden"


def at(hour: int, minute: int) -> dt.datetime:
    return dt.datetime(2026, 2, 21, hour, minute, tzinfo=dt.UTC)


SEED: dict[str, Payload] = {
    "job.posted": JobPosted(
        PostedJob(
            1, 2, "Build React Dashboard", Decimal(50), Decimal(150), "active", ["react", "typescript"], 120, at(10, 0)
        ),
        50,
        at(10, 0),
    ),
    "job.claimed": JobClaimed(1, 3, at(10, 5), 100, at(10, 5)),
    "job.updated": JobUpdated(1, "completed", ["source code", "documentation"], at(10, 30), at(10, 30)),
    "wallet.updated": WalletUpdated(
        3, Decimal("145.00"), Decimal("145.00"), "job_earning", Decimal("45.00"), at(10, 30)
    ),
}


@pytest.mark.parametrize("name", SEED)
def test_payload_is_the_seeds(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_text("utf-8")
    encoded = encode_json(SEED[name]).decode()
    assert json.loads(encoded, parse_float=Decimal) == json.loads(golden, parse_float=Decimal)
    assert list(json.loads(encoded)) == list(json.loads(golden)), "same order of members"


def test_amounts_keep_two_digits_and_never_pass_through_float() -> None:
    encoded = encode_json(SEED["wallet.updated"])
    assert b'"newBalance":145.00,' in encoded
    huge = msgspec.structs.replace(SEED["wallet.updated"], new_balance=Decimal("90071992547409.93"))
    assert b'"newBalance":90071992547409.93,' in encode_json(huge)
    decoded = decode_event("wallet.updated", encode_json(huge))
    assert isinstance(decoded, WalletUpdated)
    assert decoded.new_balance == Decimal("90071992547409.93")


@pytest.mark.parametrize("name", SEED)
def test_payload_survives_a_round_trip(name: str) -> None:
    assert decode_event(name, encode_json(SEED[name])) == SEED[name]


@pytest.mark.parametrize("path", sorted((GOLDEN / "future").glob("*.json")), ids=lambda path: path.stem)
def test_readers_accept_fields_from_the_future(path: Path) -> None:
    decode_event(path.stem, path.read_bytes())


@pytest.mark.parametrize("name", SEED)
def test_seed_fits_the_generated_schema(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    jsonschema.validate(golden, event_schema(EVENT_TYPES[name]))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("job.claimed", {"jobId": 0}),
        ("job.claimed", {"jobId": "1"}),
        ("job.claimed", {"matchScore": 101}),
        ("job.claimed", {"claimedAt": "2026-02-21T10:05:00"}),
        ("job.updated", {"status": "paused"}),
        ("job.updated", {"deliverables": None}),
        ("wallet.updated", {"transactionType": "gift"}),
        ("wallet.updated", {"amount": "forty"}),
    ],
)
def test_what_does_not_fit_is_refused(name: str, change: dict[str, object]) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    with pytest.raises(msgspec.ValidationError):
        decode_event(name, json.dumps(golden | change))


@pytest.mark.parametrize("name", SEED)
def test_a_missing_field_is_refused(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    for field in golden:
        with pytest.raises(msgspec.ValidationError):
            decode_event(name, json.dumps({key: value for key, value in golden.items() if key != field}))


def test_an_unknown_event_is_refused_by_name() -> None:
    with pytest.raises(UnknownEventError, match=r"job\.exploded"):
        decode_event("job.exploded", b"{}")
