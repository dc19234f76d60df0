"""Which push endpoints are called, and VAPID keys."""

from __future__ import annotations

import base64

import pytest
from sharedjox_marketplace.notifications.push_rules import (
    SAMPLE_VAPID_PRIVATE_KEY,
    BadEndpointError,
    check_endpoint,
    public_vapid_key,
)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "https://",
        "http://push.example.net/x",
        "ftp://push.example.net/x",
        "https://localhost/x",
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/x",
        "https://100.64.0.1/x",
        "https://[::1]/x",
        "https://[fd00::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://redis:6379/x",
        "https://db.internal/x",
        "https://printer.local./x",
        "https://user@push.example.net/x",
        "https://push.example.net:0x50/",
        "https://p\u00fcsh.example.net/x",
        "https://push.example.net/a b",
    ],
)
def test_endpoints_we_do_not_call(endpoint: str) -> None:
    with pytest.raises(BadEndpointError):
        check_endpoint(endpoint)


@pytest.mark.parametrize("endpoint", ["https://fcm.googleapis.com/fcm/send/x", "https://8.8.8.8/x"])
def test_endpoints_we_call(endpoint: str) -> None:
    check_endpoint(endpoint)


def test_loopback_is_for_development_only() -> None:
    check_endpoint("http://127.0.0.1:9000/x", allow_loopback=True)
    with pytest.raises(BadEndpointError):
        check_endpoint("http://127.0.0.1:9000/x")
    with pytest.raises(BadEndpointError):
        check_endpoint("http://10.0.0.1:9000/x", allow_loopback=True)


def test_the_public_key_is_an_uncompressed_point() -> None:
    raw = base64.urlsafe_b64decode(public_vapid_key(SAMPLE_VAPID_PRIVATE_KEY) + "=")
    assert (len(raw), raw[0]) == (65, 4)


@pytest.mark.parametrize("key", ["", "short", "A" * 44, "A" * 43])
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        public_vapid_key(key)
