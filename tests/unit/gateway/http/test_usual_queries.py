"""The short way of authentication decides as the long one: compared request by request.

A query with a further `&` at its end says the same and is signed the same, but no library sends it: it goes the long
way.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sharedjox_contracts.signatures import body_md5, request_string, sign
from sharedjox_gateway.apps import App, Apps
from sharedjox_gateway.http.authentication import authenticate
from sharedjox_gateway.http.exchange import ApiRequest, RefusedError
from sharedjox_gateway.http.routing import find_route

NOW = 1_750_000_000
APPS = Apps(
    [
        App("1", "key", "secret", accepted_secrets=("old",)),
        App("2", "other", "other-secret"),
        App("3", "off", "off-secret", enabled=False),
    ]
)
BODY = b'{"name":"e","channels":["c"],"data":"{}"}'
PATHS = [
    "/apps/1/events",
    "/apps/2/events",
    "/apps/3/events",
    "/sockets/apps/1/events",
    "/users/7/terminate_connections",
    "/apps/1/channels/a%40b/events",
]


def outcome(request: ApiRequest, query: bytes) -> tuple[int, str]:
    """(status, app id or text)."""
    asked = ApiRequest(request.method, request.path, query, request.body)
    try:
        return 200, authenticate(asked, find_route(asked.path), APPS, NOW).app.id
    except RefusedError as refused:
        return refused.answer.status, refused.answer.body.decode()


def query_of(
    *, method: str, path: str, body: bytes, key: str, secret: str, timestamp: str, version: str, md5: str | None,
    in_place: bool, signed_path: str,
) -> bytes:  # fmt: skip
    """A query as the libraries write it, rightly signed with `secret`."""
    parameters = {"auth_key": key, "auth_timestamp": timestamp, "auth_version": version}
    if md5 is not None:
        parameters["body_md5"] = md5 or body_md5(body)
    signature = sign(secret, request_string(method, signed_path, parameters))
    pairs = [*parameters.items()]
    pairs.insert(1 if in_place else len(pairs), ("auth_signature", signature))
    return "&".join(f"{name}={value}" for name, value in pairs).encode()


GOOD = {"method": "POST", "path": PATHS[0], "body": BODY, "key": "key", "secret": "secret", "timestamp": str(NOW),
        "version": "1.0", "md5": "", "in_place": False, "signed_path": PATHS[0]}  # fmt: skip


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("secret", ["secret", "old"])
def test_the_libraries_orders_are_accepted(in_place: bool, secret: str) -> None:
    query = query_of(**GOOD | {"in_place": in_place, "secret": secret})  # type: ignore[arg-type]
    assert outcome(ApiRequest("POST", b"/apps/1/events", query, BODY), query) == (200, "1")


@given(
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(["POST", "POST", "GET"]),
            "path": st.sampled_from(PATHS),
            "body": st.sampled_from([BODY, BODY, b"", b"\xff"]),
            "key": st.sampled_from(["key", "key", "other", "off", "nobody"]),
            "secret": st.sampled_from(["secret", "secret", "old", "other-secret", "off-secret"]),
            "timestamp": st.sampled_from(
                [str(NOW + off) for off in (0, 0, -600, 600, -601, 601)] + ["", "0", f"0{NOW}", "9" * 12, "9" * 13]
            ),
            "version": st.sampled_from(["1.0", "1.0", "1.0", "1x0", "2.0"]),
            "md5": st.sampled_from(["", "", None, "0" * 32, body_md5(BODY).upper(), body_md5(b"")]),
            "in_place": st.booleans(),
            "signed_path": st.sampled_from([*PATHS, "/apps/1/events", "/apps/1/channels/a@b/events"]),
        }
    ),
    st.sampled_from(["", "", "", "uppercase", "flip", "short", "twice"]),
)
@example(GOOD, "")
@example(GOOD | {"path": "/sockets/apps/1/events"}, "")
@example(GOOD | {"timestamp": str(NOW + 601)}, "")
def test_both_ways_decide_alike(made: dict[str, object], spoiled: str) -> None:
    query = query_of(**made)  # type: ignore[arg-type]
    at = query.index(b"auth_signature=") + 15
    signature = query[at : at + 64]
    if spoiled == "uppercase":
        query = query.replace(signature, signature.upper())
    elif spoiled == "flip":
        query = query.replace(signature, signature[:-1] + (b"0" if signature[-1:] != b"0" else b"1"))
    elif spoiled == "short":
        query = query.replace(signature, signature[:-1])
    elif spoiled == "twice":
        query += b"&auth_signature=" + signature
    request = ApiRequest(str(made["method"]), str(made["path"]).encode(), query, bytes(made["body"]))  # type: ignore[call-overload]
    assert outcome(request, query) == outcome(request, query + b"&")
