"""Who sent an API request, and whether it is whole: the signature over method, path, query and body.

Source: Pusher Channels, "HTTP API: authentication". What is compared in secret is compared in constant time. The texts
follow the hosted service's, because developers search for them.
"""

from __future__ import annotations

import datetime as dt
import hmac
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

from msgspec import Struct
from sharedjox_contracts.signatures import body_md5, matches, request_string

from sharedjox_gateway.apps import App, Apps

from .exchange import ApiRequest, RefusedError
from .routing import Route

TOLERANCE_SECONDS: Final = 600
VERSION: Final = "1.0"
_SHOWN: Final = 200


class Query(Struct, frozen=True):
    """Decoded parameters. `pairs` as they were sent, `folded` with `key[]=a&key[]=b` as `key=a,b`; keys lowercase."""

    pairs: list[tuple[str, str]]
    folded: dict[str, str]
    has_arrays: bool


def decode_query(query: bytes) -> Query:
    """Percent-decode once. Raises: RefusedError (400) for bad UTF-8 and for keys that differ in case only or repeat."""
    try:
        text = query.decode()
        if "%" in text or "+" in text:
            pairs = [
                (unquote_plus(key, errors="strict").lower(), unquote_plus(value, errors="strict"))
                for key, _, value in (part.partition("=") for part in text.split("&"))
                if key
            ]
        else:
            pairs = [(key.lower(), value) for key, _, value in (part.partition("=") for part in text.split("&")) if key]
    except UnicodeDecodeError as error:
        raise RefusedError(400, "The query string is not UTF-8") from error
    if "[" in text or "%5B" in text or "%5b" in text:
        return Query(pairs, _fold(pairs), True)
    folded = dict(pairs)
    if len(folded) != len(pairs):
        raise _given_twice(pairs)
    return Query(pairs, folded, False)


def _fold(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """`info[]=a&info[]=b` and `info[0]=a&info[1]=b` become `info=a,b`: what pusher-http-php signs."""
    plain = [(key, value) for key, value in pairs if not (key.endswith("]") and "[" in key)]
    folded = dict(plain)
    if len(folded) != len(plain):
        raise _given_twice(plain)
    arrays: dict[str, list[str]] = {}
    for key, value in pairs:
        if key.endswith("]") and "[" in key:
            arrays.setdefault(key[: key.index("[")], []).append(value)
    for key, values in arrays.items():
        if key in folded:
            raise RefusedError(400, f"The parameter {key[:_SHOWN]} is given twice")
        folded[key] = ",".join(values)
    return folded


def _given_twice(pairs: list[tuple[str, str]]) -> RefusedError:
    keys = [key for key, _ in pairs]
    twice = next(key for key in keys if keys.count(key) > 1)
    return RefusedError(400, f"The parameter {twice[:_SHOWN]} is given twice (keys do not differ by case)")


class Authenticated(Struct, frozen=True):
    """A request whose signature holds. `parameters`: its own ones; those of the signature may be among them."""

    app: App
    parameters: Mapping[str, str]
    signature: str


def authenticate(request: ApiRequest, route: Route, apps: Apps, now: float) -> Authenticated:
    """Check a request. `now` is in Unix seconds. Raises: RefusedError (400, 401; 403 for a disabled app)."""
    usual = _authenticate_usual(request, route, apps, now)
    if usual is not None:
        return usual
    query = decode_query(request.query)
    given = query.folded
    try:
        key, signature, timestamp = given["auth_key"], given["auth_signature"], given["auth_timestamp"]
    except KeyError as error:
        raise RefusedError(
            401,
            f"Missing parameter: {error.args[0]}. Requests are signed: see the HTTP API's authentication, or use one of"
            " Pusher's server libraries.",
        ) from error
    app = apps.by_key(key) if route.app_id is None else apps.by_id(route.app_id)
    if app is None or app.key != key:
        raise RefusedError(
            401,
            f"Unknown app: no app has this id and the auth_key {key[:_SHOWN]!r}."
            " Check REVERB_APP_ID and REVERB_APP_KEY (or PUSHER_APP_ID and PUSHER_APP_KEY).",
        )
    _check_version(given.get("auth_version"))
    _check_timestamp(timestamp, now)
    _check_body(given.get("body_md5"), request.body)
    _check_signature(request, route, query, apps, app, signature)
    if not app.enabled:
        raise RefusedError(403, "The app is disabled")
    return Authenticated(app, given, signature)


_USUAL_QUERY: Final = re.compile(
    rb"(auth_key=([A-Za-z0-9_-]{1,100}))(?:&auth_signature=([0-9a-f]{64}))?"
    rb"(&auth_timestamp=([0-9]{1,12})&auth_version=1\.0(?:&body_md5=([0-9a-f]{32}))?)(?:&auth_signature=([0-9a-f]{64}))?"
)
"""What official libraries send for a call without parameters of its own: in order, the signature in place or last."""
_NO_PARAMETERS: Final[Mapping[str, str]] = {}


def _authenticate_usual(request: ApiRequest, route: Route, apps: Apps, now: float) -> Authenticated | None:
    """The short way for a query that is already the text that was signed.

    It accepts nothing that the long way does not accept, and refuses nothing: None sends a request that way.
    """
    found = _USUAL_QUERY.fullmatch(request.query)
    if found is None:
        return None
    begin, key, inside, rest, timestamp, md5, last = found.groups()
    signature = inside or last
    app = apps.by_key(key.decode()) if route.app_id is None else apps.by_id(route.app_id)
    if app is None or app.key.encode() != key or not app.enabled or signature is None or (inside and last):
        return None
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return None
    if (md5 or request.body) and not hmac.compare_digest(body_md5(request.body).encode(), md5 or b""):
        return None
    signer = apps.signer(app)
    for path in route.signed_paths:
        text = b"%b\n%b\n%b%b" % (request.method.encode(), path.encode(), begin, rest)
        if signer.verify_bytes(text, signature):
            return Authenticated(app, _NO_PARAMETERS, signature.decode())
    return None


def _check_version(version: str | None) -> None:
    if version != VERSION:
        raise RefusedError(401, f"Invalid auth_version: {(version or 'none')[:_SHOWN]} (only {VERSION} is supported)")


def _check_timestamp(given: str, now: float) -> None:
    if not (given.isascii() and given.isdigit() and len(given) <= 12):
        raise RefusedError(401, f"Invalid auth_timestamp: {given[:_SHOWN]!r} is not a number of Unix seconds")
    if abs(now - int(given)) > TOLERANCE_SECONDS:
        raise RefusedError(
            401,
            f"Timestamp expired: Given timestamp ({_iso(int(given))}) not within {TOLERANCE_SECONDS}s of server time"
            f" ({_iso(now)}). Check the clock of the machine that sends.",
        )


def _iso(seconds: float) -> str:
    try:
        return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _check_body(given: str | None, body: bytes) -> None:
    if given is None:
        if body:
            raise RefusedError(401, "Missing parameter: body_md5, the MD5 of the request body, in hexadecimal")
        return
    if not matches(body_md5(body), given):
        raise RefusedError(
            401,
            f"Invalid body_md5: the body that arrived has {len(body)} bytes and the MD5 {body_md5(body)}, you sent"
            f" {given[:_SHOWN]!r}. Sign the exact bytes that are sent, after JSON encoding.",
        )


def _check_signature(request: ApiRequest, route: Route, query: Query, apps: Apps, app: App, given: str) -> None:
    """Try what clients may have signed: names as they are or escaped, with or without prefix, arrays folded or not."""
    signer = apps.signer(app)
    parameters: list[list[tuple[str, str]]] = [_unsigned(list(query.folded.items()))]
    if query.has_arrays:
        parameters.insert(0, _unsigned(query.pairs))
    for path in route.signed_paths:
        for pairs in parameters:
            if signer.verify(request_string(request.method, path, pairs), given):
                return
    expected = request_string(request.method, route.signed_paths[0], parameters[-1])
    raise RefusedError(
        401,
        f"Invalid signature: you should have sent HmacSHA256Hex({_quoted(expected)}, your_secret_key), but you sent"
        f" {_quoted(given[:_SHOWN])}",
    )


def _unsigned(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in pairs if pair[0] != "auth_signature"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
