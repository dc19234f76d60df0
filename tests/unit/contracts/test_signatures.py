"""Worked vectors: made with an independent HMAC, many of them confirmed by the official Node and Python SDKs."""

import hashlib

import pytest
from sharedjox_contracts.signatures import (
    body_md5,
    channel_auth,
    channel_string,
    matches,
    request_string,
    sign,
    signed_query,
    user_auth,
    user_string,
)

KEY, SECRET, SOCKET, TIMESTAMP = "app-key", "app-secret", "123456789.987654321", 1750000000

CHANNELS = [
    ("private-job.42", None, "716b00488d92c17d097e8629a1dd34b1b55c9408b25915914312c7a9565e8853"),
    (
        "presence-lobby",
        '{"user_id":7,"user_info":{"name":"Ada"}}',
        "b50046a71ea3b881d786498dc29a60015a939c1f0472930f4ef0bb58ed182af5",
    ),
    (
        "presence-lobby",
        '{"user_id": 7, "user_info": {"name": "Ada"}}',
        "a17add1c8c23f07c2db3e5d668271ee4d1b5d8b87e0ff63d0d58c5e4f30b9a4a",
    ),
    (
        "presence-lobby",
        '{"user_id":"7","user_info":{"name":"Adèle ✓"}}',
        "463eb482ce247640a7aae47d730ba78deeae5ac607078f8277f7c765a04d6f64",
    ),
    ("private-encrypted-vault", None, "b67ec0ae339a043b7cdecfe19b3bd8ea908713e3a1ec3eef82a6e1751f09a5ee"),
    ("private-cache-last", None, "23866742e12c0f90085e03b58cf7c1ef1de3c9c11c2cf4473555fa6d2ca11126"),
    (
        "presence-cache-room",
        '{"user_id":7,"user_info":{"name":"Ada"}}',
        "1bdd3cbeb436eae452d22087d9e37d4b47893ccc2649265afd1275b8065405f9",
    ),
]

EVENTS_BODY = rb'{"name":"JobPosted","channels":["jobs.discovery"],"data":"{\"job\":{\"id\":1}}"}'
BATCH_BODY = (
    b'{"batch":[{"name":"a","channel":"private-job.42","data":"1"},'
    b'{"name":"b","channel":"jobs.discovery","data":"2","info":"subscription_count"}]}'
)
SDK_BODY = rb'{"name": "JobPosted", "channels": ["jobs.discovery"], "data": "{\"job\":{\"id\":1}}"}'

REQUESTS = [
    ("POST", "/apps/10001/events", EVENTS_BODY, {}, "d6c81eb2ba5d6c0b82767a8c1b287b099e999ac78b5497a3aafffe58fe10dd12"),
    (
        "POST",
        "/apps/10001/batch_events",
        BATCH_BODY,
        {},
        "781ce51ab9d3c574a55274dd22604e3a05e21e020b4cec229afd6805c78e77eb",
    ),
    (
        "GET",
        "/apps/10001/channels",
        b"",
        {"filter_by_prefix": "presence-", "info": "user_count"},
        "073475716bc40a226ce725dd395085c1da9e070edda81a40f014d9ba9a433aa8",
    ),
    (
        "GET",
        "/apps/10001/channels",
        b"",
        {"filter_by_prefix": "presence-", "info": "user_count", "body_md5": "d41d8cd98f00b204e9800998ecf8427e"},
        "e354b4c20bcf92cc262d9820a8abd234f7ca8ea17677d893bf1586d20ad37e4e",
    ),
    (
        "GET",
        "/apps/10001/channels/presence-lobby",
        b"",
        {"info": "user_count,subscription_count"},
        "2fb53cfef44dec0738558b192484c51c3ae8c94ef82ae969974683abfe4fdea6",
    ),
    (
        "GET",
        "/apps/10001/channels/presence-lobby/users",
        b"",
        {},
        "ce121acd43b4e93bfe2c444ac99a97f91e6a6e8746c06e53f4d1e8b7114547c9",
    ),
    (
        "POST",
        "/apps/10001/users/7/terminate_connections",
        b"{}",
        {},
        "dc156a2fe3dcabd259fb8770b6443e86f15fe21a6ab8af6f6574f16433664f06",
    ),
    (
        "POST",
        "/users/7/terminate_connections",
        b"{}",
        {},
        "b7d1db581ce152433d0a0c0aab004b4a6672b60720ad3bc4f12a9c0ffb8a53e1",
    ),
    ("POST", "/apps/10001/events", SDK_BODY, {}, "eef2778d01dfb91af9b791993c25e99a9263c46ca9d9df2118c7a49efab3805c"),
]


@pytest.mark.parametrize(("channel", "channel_data", "expected"), CHANNELS)
def test_channel_subscriptions(channel: str, channel_data: str | None, expected: str) -> None:
    auth = channel_auth(key=KEY, secret=SECRET, socket_id=SOCKET, channel=channel, channel_data=channel_data)
    assert auth == f"{KEY}:{expected}"


def test_user_sign_in() -> None:
    user_data = '{"id":"7","user_info":{"name":"Ada"},"watchlist":["8","9"]}'
    assert user_auth(key=KEY, secret=SECRET, socket_id=SOCKET, user_data=user_data) == (
        f"{KEY}:63a15c3f3bca90f25bb9464fa49d9abb11a669b39d53f895f1efd78ead9176ed"
    )


@pytest.mark.parametrize(("method", "path", "body", "parameters", "expected"), REQUESTS)
def test_http_requests(method: str, path: str, body: bytes, parameters: dict[str, str], expected: str) -> None:
    query = signed_query(
        key=KEY, secret=SECRET, method=method, path=path, body=body, timestamp=TIMESTAMP, parameters=parameters
    )
    assert query["auth_signature"] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (EVENTS_BODY, "afce3a7a0b83e379520f5c2be81443f5"),
        (BATCH_BODY, "95d98f2d7a1fccdb326c96d884bea560"),
        (b"{}", "99914b932bd37a50b983c5e7c90ae93b"),
        (SDK_BODY, "141749be0bc239cd5cb175825fe87f9c"),
    ],
)
def test_body_checksum(body: bytes, expected: str) -> None:
    assert body_md5(body) == expected


def test_webhook_covers_the_raw_body() -> None:
    body = (
        b'{"time_ms":1750000000123,"events":[{"name":"channel_occupied","channel":"jobs.discovery"},'
        b'{"name":"member_added","channel":"presence-lobby","user_id":"7"}]}'
    )
    assert sign(SECRET, body) == "2b2540e2eaf7a3b224172c846db9905c3048ebc1c24b37f589ef194c6137c858"


class TestOfficialExamples:
    """Pusher's documentation, recomputed; its presence example is wrong and gets the right signature here."""

    key, secret, socket = "278d425bdf160c739803", "7ad3773142a6692b25b8", "1234.1234"

    def test_private(self) -> None:
        auth = channel_auth(key=self.key, secret=self.secret, socket_id=self.socket, channel="private-foobar")
        assert auth == f"{self.key}:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"

    def test_presence(self) -> None:
        data = '{"user_id":10,"user_info":{"name":"Mr. Channels"}}'
        signature = sign(self.secret, channel_string(self.socket, "presence-foobar", data))
        assert signature == "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"

    def test_user(self) -> None:
        signature = sign(self.secret, user_string(self.socket, '{"id":"12345"}'))
        assert signature == "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"

    def test_events(self) -> None:
        parameters = {
            "auth_key": self.key,
            "auth_timestamp": "1353088179",
            "auth_version": "1.0",
            "body_md5": "ec365a775a4cd0599faeb73354201b6f",
        }
        signature = sign(self.secret, request_string("POST", "/apps/3/events", parameters))
        assert signature == "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"


def test_keys_are_lowercased_and_sorted_but_values_stay() -> None:
    assert request_string("get", "/p", {"B": "X%2C", "a": "ü"}) == "GET\n/p\na=ü&b=X%2C"


EXPECTED = CHANNELS[0][2]


@pytest.mark.parametrize(
    "given",
    [
        EXPECTED.upper(),
        EXPECTED[:-1],
        "",
        " " + EXPECTED,
        EXPECTED + "\n",
        "é" * 64,
        "\ud800" * 64,
        "a" * 1_000_000,
        sign(SECRET, channel_string("123456789.987654322", "private-job.42")),
        sign(SECRET, channel_string(SOCKET, "private-job.43")),
        sign("other-secret", channel_string(SOCKET, "private-job.42")),
        sign(SECRET, channel_string(SOCKET, "private-job.42", "")),
        hashlib.sha256(channel_string(SOCKET, "private-job.42").encode()).hexdigest(),
    ],
    ids=range(13),
)
def test_anything_else_does_not_match(given: str) -> None:
    assert matches(EXPECTED, EXPECTED)
    assert not matches(EXPECTED, given)
