from __future__ import annotations

import pytest
from sharedjox_gateway.protocol.client_address import TrustedProxies


def test_a_header_from_somebody_untrusted_is_not_believed() -> None:
    assert TrustedProxies("10.0.0.1").client_address("198.51.100.7", "203.0.113.9") == "198.51.100.7"


def test_a_header_is_not_believed_when_nobody_is_trusted() -> None:
    assert TrustedProxies("").client_address("127.0.0.1", "203.0.113.9") == "127.0.0.1"


def test_what_the_caller_wrote_before_the_balancer_is_not_believed() -> None:
    claimed = "127.0.0.1, 192.0.2.66, 203.0.113.9"
    assert TrustedProxies("10.0.0.1").client_address("10.0.0.1", claimed) == "203.0.113.9"


def test_rubbish_ends_the_chain() -> None:
    assert TrustedProxies("10.0.0.0/8").client_address("10.0.0.1", "203.0.113.9, <script>") == "10.0.0.1"


@pytest.mark.parametrize("text", ["balancer", "10.0.0.1/8", "300.1.1.1"])
def test_settings_that_are_no_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        TrustedProxies(text)


@pytest.mark.parametrize(
    ("trusted", "peer", "header", "expected"),
    [
        ("10.0.0.1", "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8, 192.0.2.0/24", "10.1.2.3", "203.0.113.9, 192.0.2.4", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::1", "::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("*", "198.51.100.7", "203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_callers_address_is_the_last_untrusted_one(
    trusted: str, peer: str, header: str | None, expected: str
) -> None:
    assert TrustedProxies(trusted).client_address(peer, header) == expected
