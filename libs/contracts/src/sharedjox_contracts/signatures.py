"""Every Pusher signature: channels, users, HTTP requests, webhooks.

HMAC-SHA256, lowercase hex, compared in constant time.

Source: Pusher Channels, "Auth signatures" and "HTTP API: authentication"; worked vectors in tests/unit/contracts.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final


def sign(secret: str | bytes, text: str | bytes) -> str:
    """HMAC-SHA256 of `text`, lowercase hex."""
    key = secret.encode() if isinstance(secret, str) else secret
    message = text.encode() if isinstance(text, str) else text
    return hmac.digest(key, message, "sha256").hex()


def matches(expected: str, given: str) -> bool:
    """Constant-time comparison of two signatures; False, not an error, for text that is not ASCII."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))


def channel_string(socket_id: str, channel: str, channel_data: str | None = None) -> str:
    """The string that a subscription's signature covers. `channel_data` counts with its exact bytes."""
    if channel_data is None:
        return f"{socket_id}:{channel}"
    return f"{socket_id}:{channel}:{channel_data}"


def user_string(socket_id: str, user_data: str) -> str:
    """The string that a sign-in's signature covers."""
    return f"{socket_id}::user::{user_data}"


def channel_auth(*, key: str, secret: str, socket_id: str, channel: str, channel_data: str | None = None) -> str:
    """The `auth` member an auth endpoint answers: `key:hex`. The caller has checked both names against their form."""
    return f"{key}:{sign(secret, channel_string(socket_id, channel, channel_data))}"


def user_auth(*, key: str, secret: str, socket_id: str, user_data: str) -> str:
    """The `auth` member of a sign-in answer: `key:hex`."""
    return f"{key}:{sign(secret, user_string(socket_id, user_data))}"


_EMPTY_MD5: Final = hashlib.md5(usedforsecurity=False)
"""Copied, because OpenSSL takes longer to set one up than to hash an event."""


def body_md5(body: bytes) -> str:
    """Lowercase hex MD5 of the raw request body: a checksum that the protocol fixes, not a security measure."""
    md5 = _EMPTY_MD5.copy()
    md5.update(body)
    return md5.hexdigest()


def request_string(method: str, path: str, parameters: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """The string that an HTTP API signature covers.

    `parameters` are decoded values without `auth_signature`; keys are lowercased and sorted here.
    """
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    query = "&".join(f"{key}={value}" for key, value in sorted((key.lower(), value) for key, value in pairs))
    return f"{method.upper()}\n{path}\n{query}"


def signed_query(
    *, key: str, secret: str, method: str, path: str, body: bytes, timestamp: int, parameters: Mapping[str, str]
) -> dict[str, str]:
    """All query parameters of a signed request, `auth_signature` included. `timestamp` is in Unix seconds."""
    query = {**parameters, "auth_key": key, "auth_timestamp": str(timestamp), "auth_version": "1.0"}
    if body:
        query["body_md5"] = body_md5(body)
    query["auth_signature"] = sign(secret, request_string(method, path, query))
    return query
