"""The signature of API requests: the worked vectors of the protocol, and everything that must be refused."""

from __future__ import annotations

import pytest
from sharedjox_contracts.signatures import body_md5, request_string, sign
from sharedjox_gateway.apps import App, Apps
from sharedjox_gateway.http.authentication import Authenticated, authenticate
from sharedjox_gateway.http.exchange import ApiRequest, RefusedError
from sharedjox_gateway.http.routing import find_route

NOW = 1_750_000_000
KEY, SECRET, APP_ID = "app-key", "app-secret", "10001"
APPS = Apps(
    [
        App(APP_ID, KEY, SECRET),
        App("10002", "other-key", "other-secret"),
        App("10003", "off-key", "off-secret", enabled=False),
    ]
)
EVENTS = b'{"name":"JobPosted","channels":["jobs.discovery"],"data":"{\\"job\\":{\\"id\\":1}}"}'
EVENTS_BY_PYTHON = b'{"name": "JobPosted", "channels": ["jobs.discovery"], "data": "{\\"job\\":{\\"id\\":1}}"}'
BATCH = (
    b'{"batch":[{"name":"a","channel":"private-job.42","data":"1"},'
    b'{"name":"b","channel":"jobs.discovery","data":"2","info":"subscription_count"}]}'
)
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
BASE = f"auth_key={KEY}&auth_timestamp={NOW}&auth_version=1.0"


def pairs_of(query: str) -> list[tuple[str, str]]:
    """What stands on a query string, not decoded."""
    return [(key, value) for key, _, value in (part.partition("=") for part in query.split("&"))]


def check(
    method: str, path: str, query: str, signature: str, body: bytes = b"", *, now: float = NOW, apps: Apps = APPS
) -> Authenticated:
    full = f"{query}&auth_signature={signature}" if signature else query
    request = ApiRequest(method, path.encode(), full.encode(), body)
    return authenticate(request, find_route(request.path), apps, now)


def refusal(*arguments: object, **options: object) -> tuple[int, str]:
    with pytest.raises(RefusedError) as refused:
        check(*arguments, **options)  # type: ignore[arg-type]
    return refused.value.answer.status, refused.value.answer.body.decode()


def signed(method: str, path: str, query: str, *, secret: str = SECRET, body: bytes = b"", **options: object) -> object:
    """Sign what is on the query string as it is."""
    pairs = pairs_of(query)
    return check(method, path, query, sign(secret, request_string(method, path, pairs)), body, **options)  # type: ignore[arg-type]


# --- forbidden paths --------------------------------------------------------------------------------------------------


def test_an_accepted_secret_is_as_good_as_the_apps_own_and_no_other_is() -> None:
    during = Apps([App(APP_ID, KEY, "new", accepted_secrets=("old", "older"))])
    for secret in ("new", "old", "older"):
        assert signed("GET", f"/apps/{APP_ID}/channels", BASE, secret=secret, apps=during)
    for secret in ("oldold", "", "other-secret", "newold"):
        pairs = pairs_of(BASE)
        forged = sign(secret, request_string("GET", f"/apps/{APP_ID}/channels", pairs))
        assert refusal("GET", f"/apps/{APP_ID}/channels", BASE, forged, apps=during)[0] == 401
    during.replace([App(APP_ID, KEY, "new")])
    late = sign("old", request_string("GET", f"/apps/{APP_ID}/channels", pairs_of(BASE)))
    assert refusal("GET", f"/apps/{APP_ID}/channels", BASE, late, apps=during)[0] == 401


@pytest.mark.parametrize("missing", ["auth_key", "auth_timestamp", "auth_signature"])
def test_a_missing_parameter_is_named(missing: str) -> None:
    query = "&".join(part for part in BASE.split("&") if not part.startswith(missing))
    status, text = refusal("GET", f"/apps/{APP_ID}/channels", query, "" if missing == "auth_signature" else "00")
    assert (status, missing in text) == (401, True)


@pytest.mark.parametrize(
    ("app_id", "key"), [("99", KEY), (APP_ID, "nobody"), (APP_ID, "other-key"), ("10002", KEY), (APP_ID, "")]
)
def test_unknown_app_and_wrong_key_get_one_text(app_id: str, key: str) -> None:
    status, text = refusal("GET", f"/apps/{app_id}/channels", BASE.replace(KEY, key), "00")
    assert status == 401
    assert text.startswith("Unknown app")


def test_a_signature_of_another_app_is_refused() -> None:
    pairs = pairs_of(BASE)
    forged = sign("other-secret", request_string("GET", f"/apps/{APP_ID}/channels", pairs))
    assert refusal("GET", f"/apps/{APP_ID}/channels", BASE, forged)[0] == 401


def test_the_refusal_shows_the_string_to_sign() -> None:
    status, text = refusal("GET", f"/apps/{APP_ID}/channels", BASE, "abc")
    assert status == 401
    assert text == (
        f'Invalid signature: you should have sent HmacSHA256Hex("GET\\n/apps/{APP_ID}/channels\\n{BASE}",'
        ' your_secret_key), but you sent "abc"\n'
    )


@pytest.mark.parametrize(("seconds", "is_good"), [(599, True), (600, True), (601, False), (-599, True), (-601, False)])
def test_the_timestamp_may_be_ten_minutes_off(seconds: int, is_good: bool) -> None:
    path = f"/apps/{APP_ID}/channels"
    if is_good:
        signed("GET", path, BASE, now=NOW + seconds)
        return
    with pytest.raises(RefusedError, match="not within 600s of server time") as refused:
        signed("GET", path, BASE, now=NOW + seconds)
    assert refused.value.answer.status == 401


@pytest.mark.parametrize("given", ["", "now", "1e9", "-1", "1750000000.5", "٣", "9" * 40])
def test_a_timestamp_that_is_no_number_is_refused(given: str) -> None:
    status, text = refusal("GET", f"/apps/{APP_ID}/channels", BASE.replace(str(NOW), given), "00")
    assert (status, "auth_timestamp" in text) == (401, True)


@pytest.mark.parametrize("version", ["2.0", "1", "", "1.0.0"])
def test_another_auth_version_is_refused(version: str) -> None:
    status, text = refusal("GET", f"/apps/{APP_ID}/channels", BASE.replace("=1.0", f"={version}"), "00")
    assert (status, text.startswith("Invalid auth_version")) == (401, True)


def test_a_body_without_its_md5_is_refused() -> None:
    with pytest.raises(RefusedError, match="Missing parameter: body_md5"):
        signed("POST", f"/apps/{APP_ID}/events", BASE, body=EVENTS)


@pytest.mark.parametrize("body", [EVENTS_BY_PYTHON, EVENTS + b"\n", b"", b"\xff\xfe"])
def test_a_body_that_is_not_the_signed_one_is_refused(body: bytes) -> None:
    query = f"{BASE}&body_md5={body_md5(EVENTS)}"
    status, text = refusal("POST", f"/apps/{APP_ID}/events", query, sign(SECRET, "whatever"), body)
    assert (status, text.startswith("Invalid body_md5")) == (401, True)


@pytest.mark.parametrize(
    ("query", "twice"),
    [(f"{BASE}&info=a&info=b", "info"), (f"{BASE}&Info=a&info=b", "info"), (f"{BASE}&AUTH_KEY=x", "auth_key")],
)
def test_keys_that_repeat_or_differ_in_case_are_refused(query: str, twice: str) -> None:
    status, text = refusal("GET", f"/apps/{APP_ID}/channels", query, "00")
    assert (status, f"The parameter {twice} is given twice" in text) == (400, True)


@pytest.mark.parametrize("query", ["a=%ff", "%c3%28=1"])
def test_a_query_that_is_not_utf8_is_refused(query: str) -> None:
    assert refusal("GET", f"/apps/{APP_ID}/channels", f"{BASE}&{query}", "00")[0] == 400


def test_a_disabled_app_is_refused_with_its_right_signature() -> None:
    query = BASE.replace(KEY, "off-key")
    with pytest.raises(RefusedError, match="disabled") as refused:
        signed("GET", "/apps/10003/channels", query, secret="off-secret")
    assert refused.value.answer.status == 403


def test_an_uppercase_signature_is_refused() -> None:
    good = "ce121acd43b4e93bfe2c444ac99a97f91e6a6e8746c06e53f4d1e8b7114547c9"
    assert refusal("GET", f"/apps/{APP_ID}/channels/presence-lobby/users", BASE, good.upper())[0] == 401


def test_a_signature_for_another_method_or_path_is_refused() -> None:
    good = "ce121acd43b4e93bfe2c444ac99a97f91e6a6e8746c06e53f4d1e8b7114547c9"
    assert refusal("POST", f"/apps/{APP_ID}/channels/presence-lobby/users", BASE, good)[0] == 401
    assert refusal("GET", f"/apps/{APP_ID}/channels/presence-lobb/users", BASE, good)[0] == 401


# --- the worked vectors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "signature"),
    [
        (
            "POST",
            "/apps/10001/events",
            f"{BASE}&body_md5=afce3a7a0b83e379520f5c2be81443f5",
            EVENTS,
            "d6c81eb2ba5d6c0b82767a8c1b287b099e999ac78b5497a3aafffe58fe10dd12",
        ),
        (
            "POST",
            "/apps/10001/events",
            f"{BASE}&body_md5=141749be0bc239cd5cb175825fe87f9c",
            EVENTS_BY_PYTHON,
            "eef2778d01dfb91af9b791993c25e99a9263c46ca9d9df2118c7a49efab3805c",
        ),
        (
            "POST",
            "/apps/10001/batch_events",
            f"{BASE}&body_md5=95d98f2d7a1fccdb326c96d884bea560",
            BATCH,
            "781ce51ab9d3c574a55274dd22604e3a05e21e020b4cec229afd6805c78e77eb",
        ),
        (
            "GET",
            "/apps/10001/channels",
            f"{BASE}&filter_by_prefix=presence-&info=user_count",
            b"",
            "073475716bc40a226ce725dd395085c1da9e070edda81a40f014d9ba9a433aa8",
        ),
        (
            "GET",
            "/apps/10001/channels",
            f"{BASE}&body_md5={EMPTY_MD5}&filter_by_prefix=presence-&info=user_count",
            b"",
            "e354b4c20bcf92cc262d9820a8abd234f7ca8ea17677d893bf1586d20ad37e4e",
        ),
        (
            "GET",
            "/apps/10001/channels/presence-lobby",
            f"{BASE}&info=user_count%2Csubscription_count",
            b"",
            "2fb53cfef44dec0738558b192484c51c3ae8c94ef82ae969974683abfe4fdea6",
        ),
        (
            "GET",
            "/apps/10001/channels/presence-lobby/users",
            BASE,
            b"",
            "ce121acd43b4e93bfe2c444ac99a97f91e6a6e8746c06e53f4d1e8b7114547c9",
        ),
        (
            "POST",
            "/apps/10001/users/7/terminate_connections",
            f"{BASE}&body_md5=99914b932bd37a50b983c5e7c90ae93b",
            b"{}",
            "dc156a2fe3dcabd259fb8770b6443e86f15fe21a6ab8af6f6574f16433664f06",
        ),
        (
            "POST",
            "/users/7/terminate_connections",
            f"{BASE}&body_md5=99914b932bd37a50b983c5e7c90ae93b",
            b"{}",
            "b7d1db581ce152433d0a0c0aab004b4a6672b60720ad3bc4f12a9c0ffb8a53e1",
        ),
    ],
)
def test_worked_vectors(method: str, path: str, query: str, body: bytes, signature: str) -> None:
    assert check(method, path, query, signature, body).app.id == APP_ID


def test_the_published_example_of_pusher() -> None:
    apps = Apps([App("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")])
    body = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'
    query = (
        "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0"
        "&body_md5=ec365a775a4cd0599faeb73354201b6f"
    )
    signature = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
    assert check("POST", "/apps/3/events", query, signature, body, now=1353088179, apps=apps).app.id == "3"


# --- what clients do differently --------------------------------------------------------------------------------------


def test_unknown_parameters_are_part_of_the_signature() -> None:
    path = f"/apps/{APP_ID}/channels"
    assert isinstance(signed("GET", path, f"{BASE}&colour=blue"), Authenticated)
    pairs = pairs_of(BASE)
    without = sign(SECRET, request_string("GET", path, pairs))
    assert refusal("GET", path, f"{BASE}&colour=blue", without)[0] == 401


def test_keys_are_lowercased_before_signing() -> None:
    path = f"/apps/{APP_ID}/channels"
    pairs = pairs_of(BASE)
    signature = sign(SECRET, request_string("GET", path, pairs))
    assert check("GET", path, BASE.replace("auth_key", "Auth_Key"), signature).app.id == APP_ID


@pytest.mark.parametrize("wire", ["info[]=a&info[]=b", "info%5B%5D=a&info%5B%5D=b", "info[0]=a&info[1]=b"])
def test_arrays_are_verified_folded(wire: str) -> None:
    """pusher-http-php signs `info=a,b` while Guzzle sends brackets."""
    path = f"/apps/{APP_ID}/channels"
    pairs = [*pairs_of(BASE), ("info", "a,b")]
    known = check("GET", path, f"{BASE}&{wire}", sign(SECRET, request_string("GET", path, pairs)))
    assert known.parameters["info"] == "a,b"


def test_arrays_are_verified_literally_too() -> None:
    path = f"/apps/{APP_ID}/channels"
    pairs = [*pairs_of(BASE), ("info[]", "a"), ("info[]", "b")]
    assert check("GET", path, f"{BASE}&info[]=a&info[]=b", sign(SECRET, request_string("GET", path, pairs)))


def test_an_array_beside_its_plain_form_is_refused() -> None:
    assert refusal("GET", f"/apps/{APP_ID}/channels", f"{BASE}&info=a&info[]=b", "00")[0] == 400


@pytest.mark.parametrize("signs_prefix", [False, True])
def test_a_path_prefix_may_be_signed_or_not(signs_prefix: bool) -> None:
    """laravel/reverb#356: pusher-http-php leaves its `path` option out of the signature."""
    path = f"/apps/{APP_ID}/channels"
    pairs = pairs_of(BASE)
    signature = sign(SECRET, request_string("GET", f"/sockets{path}" if signs_prefix else path, pairs))
    assert check("GET", f"/sockets{path}", BASE, signature).app.id == APP_ID


@pytest.mark.parametrize("signs_escaped", [False, True])
def test_names_in_the_path_may_be_signed_escaped_or_not(signs_escaped: bool) -> None:
    wire, plain = f"/apps/{APP_ID}/channels/a%40b%2Cc", f"/apps/{APP_ID}/channels/a@b,c"
    pairs = pairs_of(BASE)
    signature = sign(SECRET, request_string("GET", wire if signs_escaped else plain, pairs))
    assert check("GET", wire, BASE, signature).app.id == APP_ID


def test_the_query_is_decoded_once() -> None:
    path = f"/apps/{APP_ID}/channels"
    pairs = [*pairs_of(BASE), ("note", "100%25")]
    assert check("GET", path, f"{BASE}&note=100%2525", sign(SECRET, request_string("GET", path, pairs)))
