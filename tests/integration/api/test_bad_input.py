"""Whatever comes in, the answer is a clear refusal: never a 5xx, never a half-done change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .harness import JOB, Api

JSON = {"Content-Type": "application/json"}
KEY = {
    "p256dh": "BG_wO5SSQc4drdQ1GeaWDgqFtBppoFwygQOqK84VlMoWPE91OlW_AdxT9sCwx-7ni0DG_30lqW4igrmJzvccFEo",
    "auth": "a" * 22,
}
PUSH = {"endpoint": "https://push.example.net/x", "keys": KEY}
REGISTER = {"name": "Ada", "email": "ada@example.test", "password": "long enough", "role": "client"}

BODIES: dict[str, dict[str, Any]] = {
    "/api/auth/register": REGISTER,
    "/api/auth/login": {"email": "ada@example.test", "password": "x"},
    "/api/auth/refresh": {"refreshToken": "x"},
    "/api/jobs": JOB,
    "/api/jobs/1/claim": {"offer": 60},
    "/api/jobs/1/status": {"status": "cancelled"},
    "/api/wallet/deposits": {"amount": 1},
    "/api/wallet/withdrawals": {"amount": 1},
    "/api/push/subscriptions": PUSH,
    "/broadcasting/auth": {"socket_id": "1.2", "channel_name": "private-user.1"},
    "/broadcasting/user-auth": {"socket_id": "1.2"},
}
"""Every call that reads a body, with one that is well-formed."""

BROKEN: dict[str, bytes] = {
    "broken": b'{"title": ',
    "two texts": b"{} {}",
    "not UTF-8": b'{"title": "\xff\xfe"}',
    "UTF-16": json.dumps(JOB).encode("utf-16"),
    "NaN": b'{"budgetMin": NaN, "amount": NaN}',
    "Infinity": b'{"budgetMin": -Infinity, "amount": Infinity}',
    "deep": b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "endless exponent": b'{"amount": 1e999999999999999999999}',
    "a stray comma": b'{"amount": 1,}',
    "a leading zero": b'{"amount": 01}',
    "only spaces": b"   ",
}

AMOUNTS: dict[str, str] = {
    "negative": "-1",
    "zero": "0",
    "minus zero": "-0.0",
    "three decimals": "1.005",
    "a thousandth": "0.001",
    "just above a cent": "0.0100000000000000000000000000000000001",
    "over the limit": "1000000.01",
    "beyond 64 bit": "9223372036854775808",
    "with 40 digits": "1" * 40,
    "with 5000 digits": "1" * 5000,
    "with an exponent": "1e400",
    "tiny": "1e-400",
    "text": '"50"',
    "boolean": "true",
    "null": "null",
    "list": "[50]",
    "object": "{}",
}


def _odd_jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for field in ("title", "budgetMin", "budgetMax", "requiredSkills", "estimatedDuration"):
        yield f"no {field}", {name: value for name, value in JOB.items() if name != field}
    for field, value in (
        ("title", ""),
        ("title", " \t "),
        ("title", "x" * 201),
        ("title", "nul \x00 inside"),
        ("title", "half a pair \ud800"),
        ("title", 5),
        ("title", ["a"]),
        ("description", "x" * 10_001),
        ("description", "\x00"),
        ("description", None),
        ("requiredSkills", "react"),
        ("requiredSkills", [""]),
        ("requiredSkills", ["x" * 51]),
        ("requiredSkills", ["a"] * 51),
        ("requiredSkills", [1]),
        ("requiredSkills", ["\udfff"]),
        ("requiredSkills", None),
        ("estimatedDuration", -1),
        ("estimatedDuration", 10**30),
        ("estimatedDuration", 1.5),
        ("estimatedDuration", "120"),
        ("estimatedDuration", True),
        ("budgetMin", 151),
    ):
        yield f"{field} = {str(value)[:20]!r}", JOB | {field: value}


async def _no_change(api: Api) -> None:
    assert await api.sql("SELECT 1 FROM jobs UNION ALL SELECT 1 FROM transactions") == []
    assert await api.events() == []


@pytest.mark.parametrize("body", BROKEN)
async def test_broken_json_is_refused_everywhere(api: Api, body: str) -> None:
    client = await api.person("client")
    headers = client.headers | {"Content-Type": "application/json"}
    for path in BODIES:
        refused = await api.http.post(path, content=BROKEN[body], headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed-json"), path
        assert refused.headers["content-type"] == "application/problem+json"
    await _no_change(api)


@pytest.mark.parametrize("text", ["null", "[]", "5", '"text"', "{}", "true"])
async def test_json_of_another_shape_is_refused(api: Api, text: str) -> None:
    freelancer = await api.person("freelancer")
    headers = freelancer.headers | {"Content-Type": "application/json"}
    optional = {"/api/jobs/1/claim": {"null", "{}"}}
    for path in BODIES:
        answer = await api.http.post(path, content=text, headers=headers)
        expected = 404 if text in optional.get(path, ()) else 422
        assert answer.status_code == expected, (path, answer.text)
    await _no_change(api)


async def test_other_media_types_are_refused(api: Api) -> None:
    client = await api.person("client")
    for path, body in BODIES.items():
        for media_type in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "image/png", ""):
            headers = client.headers | ({"Content-Type": media_type} if media_type else {})
            refused = await api.http.post(path, content=json.dumps(body), headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (415, "unsupported-media-type"), (path, media_type)
    await _no_change(api)


@pytest.mark.parametrize("chunked", [False, True])
async def test_oversized_bodies_are_refused(api: Api, chunked: bool) -> None:
    client = await api.person("client")
    limit = api.runtime.settings.max_body_bytes

    async def chunks() -> Any:
        for _ in range(limit // 1000 + 2):
            yield b" " * 1000

    for path in BODIES:
        content = chunks() if chunked else b" " * (limit + 1)
        headers = client.headers | {"Content-Type": "application/json"}
        refused = await api.http.post(path, content=content, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (413, "body-too-large"), path


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "9" * 30])
async def test_odd_content_lengths_are_refused(api: Api, length: str) -> None:
    client = await api.person("client")
    headers = client.headers | {"Content-Type": "application/json", "Content-Length": length}
    refused = await api.http.post("/api/wallet/deposits", content=b"{}", headers=headers)
    assert refused.status_code == 413


@pytest.mark.parametrize("amount", AMOUNTS)
async def test_odd_amounts_are_refused(api: Api, amount: str) -> None:
    client = await api.person("client")
    text = AMOUNTS[amount]
    job = json.dumps(JOB).replace('"budgetMin": 50', f'"budgetMin": {text}')
    bodies = {
        "/api/wallet/deposits": f'{{"amount": {text}}}',
        "/api/wallet/withdrawals": f'{{"amount": {text}}}',
        "/api/jobs": job,
    }
    for path, body in bodies.items():
        headers = client.headers | {"Content-Type": "application/json"}
        refused = await api.http.post(path, content=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "validation-failed"), (path, refused.text)
        assert refused.json()["errors"][0]["field"].endswith(("amount", "budgetMin"))
    await _no_change(api)


@pytest.mark.parametrize(("amount", "cents"), [("0.01", 1), ("1000000", 100_000_000), ("5.10", 510), ("1.2e1", 1200)])
async def test_amounts_are_exact(api: Api, amount: str, cents: int) -> None:
    client = await api.person("client")
    headers = client.headers | {"Content-Type": "application/json"}
    accepted = await api.http.post("/api/wallet/deposits", content=f'{{"amount": {amount}}}', headers=headers)
    assert accepted.status_code == 201
    assert f'"amount":{cents // 100}.{cents % 100:02d}' in accepted.text
    assert (await api.sql("SELECT amount_cents FROM transactions"))[0][0] == cents


@pytest.mark.parametrize(("what", "body"), list(_odd_jobs()), ids=[what for what, _ in _odd_jobs()])
async def test_odd_jobs_are_refused(api: Api, what: str, body: dict[str, Any]) -> None:
    client = await api.person("client")
    refused = await api.http.post("/api/jobs", content=json.dumps(body), headers=client.headers | JSON)
    assert refused.status_code == 422, what
    assert refused.json()["code"] in ("validation-failed", "budget-range")
    await _no_change(api)


@pytest.mark.parametrize(
    "change",
    [
        {"email": "no address"},
        {"email": "a@b"},
        {"email": "\u2603@example.test"},
        {"email": "a" * 250 + "@example.test"},
        {"email": None},
        {"password": "short"},
        {"password": "x" * 201},
        {"password": 12345678},
        {"name": ""},
        {"name": "\x00"},
        {"name": "x" * 101},
        {"role": "admin"},
        {"role": None},
        {"skills": ["\ud800"]},
        {"skills": {}},
    ],
    ids=repr,
)
async def test_odd_registrations_are_refused(api: Api, change: dict[str, Any]) -> None:
    refused = await api.http.post("/api/auth/register", content=json.dumps(REGISTER | change), headers=JSON)
    assert (refused.status_code, refused.json()["code"]) == (422, "validation-failed")
    assert str(change.get("password", "no password")) not in refused.text
    assert await api.sql("SELECT 1 FROM users") == []


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://push.example.net/x"},
        {"endpoint": "https://127.0.0.1.nip.io\x00/"},
        {"endpoint": "https://10.0.0.1/x"},
        {"endpoint": "https://169.254.169.254/latest/meta-data"},
        {"endpoint": "https://[::ffff:10.0.0.1]/"},
        {"endpoint": "https://metadata.internal/"},
        {"endpoint": "https://postgres/"},
        {"endpoint": "https://user:secret@push.example.net/"},
        {"endpoint": "file:///etc/passwd"},
        {"endpoint": "https://["},
        {"endpoint": "https://push.example.net:99999/"},
        {"endpoint": "x" * 2001},
        {"keys": {"p256dh": "short", "auth": "a" * 22}},
        {"keys": KEY | {"auth": "a" * 22 + "\n"}},
        {"keys": KEY | {"p256dh": "B" * 87}},
        {"keys": None},
    ],
    ids=repr,
)
async def test_odd_push_subscriptions_are_refused(api: Api, change: dict[str, Any]) -> None:
    client = await api.person("client")
    refused = await api.post(client, "/api/push/subscriptions", PUSH | change)
    assert (refused.status_code, refused.json()["code"]) == (422, "validation-failed")


@pytest.mark.parametrize("number", ["0", "-1", "abc", "1.5", "9223372036854775808", "1" * 100, "%00", "\u0661"])
async def test_odd_ids_in_paths_are_refused(api: Api, number: str) -> None:
    client = await api.person("client")
    for method, path in (
        ("GET", f"/api/jobs/{number}"),
        ("POST", f"/api/jobs/{number}/claim"),
        ("POST", f"/api/wallet/transactions/{number}/confirm"),
        ("POST", f"/api/wallet/transactions/{number}/reject"),
        ("POST", f"/api/notifications/{number}/read"),
        ("DELETE", f"/api/push/subscriptions/{number}"),
    ):
        refused = await api.http.request(method, path, headers=client.headers)
        assert refused.status_code in (404, 422), (method, path, refused.text)
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "limit=", "cursor=x", "cursor=MToxeA", "cursor=%00", "cursor=Mjox",
        "cursor=" + "A" * 200, "status=open", "status=", "minBudget=x", "minBudget=-1", "minBudget=1.005",
        "minBudget=NaN", "minBudget=1e99999", "maxBudget=" + "9" * 50, "q=", "q=%00", "q=" + "x" * 201,
        "skill=%00", "skill=",
    ],
)  # fmt: skip
async def test_odd_queries_are_refused(api: Api, query: str) -> None:
    client = await api.person("client")
    refused = await api.http.get(f"/api/jobs?{query}", headers=client.headers)
    assert (refused.status_code, refused.json()["code"] in ("validation-failed", "invalid-cursor")) == (422, True)


@pytest.mark.parametrize(
    "query", ["q=%ff%fe", "q=%27%3B%20DROP%20TABLE%20jobs", "q=%22%28%26%7C%21%2A", "skill=%27%7B%7D", "unknown=1"]
)
async def test_queries_that_only_look_odd_are_answered(api: Api, query: str) -> None:
    client = await api.person("client")
    assert (await api.http.get(f"/api/jobs?{query}", headers=client.headers)).status_code == 200
