"""The fuzzer, short: see `live.py` for what is sent and what must hold. And that its judges do say no."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.benchmarks.report import Report, read_budgets
from tests.fuzz.attacks import MAX_MESSAGE_BYTES
from tests.fuzz.cases import Findings
from tests.fuzz.frames import expected_end, is_owed
from tests.fuzz.handshakes import GOOD_HEAD, expected_status
from tests.fuzz.live import BUDGETS, SETTINGS, fuzz
from tests.support.frames import masked
from tests.support.gateway import running_gateways

SEED = int(os.environ.get("FUZZ_SEED", "20261126"))
CASES = 700
MASK = b"mask"


async def test_malformed_input_gets_its_code_leaves_nothing_and_is_not_noticed_by_others(
    tmp_path: Path, redis_url: str
) -> None:
    findings = Findings(SEED)
    with running_gateways(tmp_path, redis_url, count=1, env=SETTINGS) as (node,):
        figures = await fuzz(node, range(CASES), findings)
    assert findings.wrong == [], f"replay: python -m tests.fuzz.live --cases {CASES} --seed {SEED}"
    assert findings.judged == CASES
    assert findings.malformed["frames"] > CASES / 4, "most frames are malformed"
    assert findings.malformed["handshakes"] > CASES / 8, "most handshakes are malformed"
    assert figures["bystander_events"] > 100, "the others were served meanwhile"


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (masked(0x82, b"binary", MASK), 1003),
        (masked(0x81, b"\xff", MASK), 1007),
        (masked(0x01, b"a", MASK) + masked(0x81, b"b", MASK), 1002),
        (masked(0x80, b"continues nothing", MASK), 1002),
        (masked(0x81, b"x" * (MAX_MESSAGE_BYTES + 1), MASK), 1009),
        (masked(0x88, b"\x03\xed", MASK), 1002),
        (masked(0x88, b"\x0f\xa0bye", MASK), 4000),
        (masked(0x81, b"whole", MASK), None),
    ],
)
def test_the_judge_of_frames_accepts_the_code_that_is_owed_and_no_other(stream: bytes, code: int | None) -> None:
    owed = expected_end(stream, MAX_MESSAGE_BYTES)
    assert owed.code == code
    assert is_owed(code, owed, stream, MAX_MESSAGE_BYTES)
    assert not any(is_owed(other, owed, stream, MAX_MESSAGE_BYTES) for other in (1006, 1011, 4444))


def test_the_judge_of_frames_lets_a_frame_be_refused_by_its_head_and_only_if_it_is_wrong() -> None:
    for stream, is_wrong in [(b"\x8a\xfe\x00\x7fmask", True), (b"\x81\xfe\x00\x7fmask", False)]:
        owed = expected_end(stream, MAX_MESSAGE_BYTES)
        assert owed.code is None
        assert is_owed(1002, owed, stream, MAX_MESSAGE_BYTES) is is_wrong


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (GOOD_HEAD, 101),
        (GOOD_HEAD.replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket"), 101),
        (GOOD_HEAD.replace(b"Upgrade: websocket", b"Upgrade: websocket2"), 426),
        (GOOD_HEAD.replace(b"Host: x\r\n", b""), 400),
        (GOOD_HEAD.replace(b"Version: 13", b"Version: 8"), 400),
        (GOOD_HEAD[:-2], 0),
    ],
)
def test_the_judge_of_handshakes_knows_good_from_bad(head: bytes, status: int) -> None:
    assert expected_status(head) == status


def test_a_finding_fails_the_run() -> None:
    report = Report("fuzz", read_budgets("fuzz", BUDGETS))
    report.add(**dict.fromkeys(report.budgets, 0))
    assert report.missed() == []
    report.add(findings=1)
    assert report.missed() == ["findings"]
