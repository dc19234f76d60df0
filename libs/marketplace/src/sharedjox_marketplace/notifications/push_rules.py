"""Which push services we send to, and with which key. Pure.

A subscription's endpoint is an address that a user gives and our worker calls: without these rules it could be any
address that only the worker can reach (server-side request forgery).
"""

from __future__ import annotations

import base64
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SAMPLE_VAPID_PRIVATE_KEY: Final = "c2hhcmVkam94LWRldmVsb3BtZW50LXZhcGlkLWtleS0"
"""For development and tests only; base64url of 32 bytes."""

_KEY_BYTES: Final = 32
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


class BadEndpointError(ValueError):
    """We do not send to this address; the message says why."""


def check_endpoint(endpoint: str, *, allow_loopback: bool = False) -> None:
    """Raises: BadEndpointError unless the endpoint is a public https address (development may use loopback)."""
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        msg = "must be a URL"
        raise BadEndpointError(msg) from error
    if not host or parts.username or parts.password or not endpoint.isascii() or " " in endpoint:
        msg = "must be a URL with a host and without a password"
        raise BadEndpointError(msg)
    if allow_loopback and host in ("127.0.0.1", "localhost", "::1") and parts.scheme in ("http", "https"):
        return
    if parts.scheme != "https":
        msg = "must be an https URL"
        raise BadEndpointError(msg)
    if _is_private(host):
        msg = "must be a public host"
        raise BadEndpointError(msg)


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host.rstrip(".") or host.rstrip(".").endswith(_LOCAL_SUFFIXES)


def public_vapid_key(private_key: str) -> str:
    """The public half (uncompressed point, base64url) of a private key (32 bytes, base64url).

    Raises: ValueError when it is no such key.
    """
    raw = base64.urlsafe_b64decode(private_key + "=" * (-len(private_key) % 4))
    if len(raw) != _KEY_BYTES:
        msg = "a VAPID private key has 32 bytes, written in base64url"
        raise ValueError(msg)
    point = ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1()).public_key()
    encoded = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(encoded).decode().rstrip("=")


def check_public_key(p256dh: str) -> None:
    """Raises: ValueError unless the browser's key is a point on P-256."""
    try:
        raw = base64.urlsafe_b64decode(p256dh + "=" * (-len(p256dh) % 4))
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    except ValueError as error:
        msg = "must be an uncompressed point on P-256"
        raise ValueError(msg) from error
