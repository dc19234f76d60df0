"""Messages for browsers: RFC 8291's own example, and what another implementation reads."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sharedjox_marketplace.notifications.push_rules import SAMPLE_VAPID_PRIVATE_KEY, public_vapid_key
from sharedjox_worker.push.encryption import MAX_MESSAGE_BYTES, MessageTooLargeError, decode_base64url, encrypt
from sharedjox_worker.push.vapid import LIFETIME_SECONDS, Vapid

from tests.support.push_service import Browser
from tests.support.webhook_receiver import WebhookRequest

# RFC 8291, section 5 and appendix A.
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
BROWSER_KEY = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
BROWSER_SECRET = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_rfcs_example() -> None:
    sender = ec.derive_private_key(int.from_bytes(decode_base64url(SENDER), "big"), ec.SECP256R1())
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        p256dh=BROWSER_KEY,
        auth=BROWSER_SECRET,
        sender=sender,
        salt=decode_base64url(SALT),
    )
    assert base64.urlsafe_b64encode(body).decode().rstrip("=") == BODY


def test_every_message_has_keys_of_its_own() -> None:
    assert encrypt(b"{}", p256dh=BROWSER_KEY, auth=BROWSER_SECRET) != encrypt(
        b"{}", p256dh=BROWSER_KEY, auth=BROWSER_SECRET
    )


def test_only_its_browser_reads_a_message() -> None:
    browser, other = Browser("https://push.example.net/1"), Browser("https://push.example.net/2")
    message = b'{"title": "' + b"x" * (MAX_MESSAGE_BYTES - 13) + b'"}'
    body = encrypt(message, p256dh=browser.p256dh, auth=browser.auth)
    request = WebhookRequest("/1", {"content-encoding": "aes128gcm"}, body, 0.0)
    assert len(browser.read(request)["title"]) == MAX_MESSAGE_BYTES - 13
    with pytest.raises(Exception, match="ecryption"):
        other.read(request)


def test_a_message_has_to_fit_into_one_record() -> None:
    with pytest.raises(MessageTooLargeError):
        encrypt(b"x" * (MAX_MESSAGE_BYTES + 1), p256dh=BROWSER_KEY, auth=BROWSER_SECRET)


def test_vapid_names_the_service_and_is_renewed() -> None:
    vapid = Vapid(SAMPLE_VAPID_PRIVATE_KEY, "mailto:ops@example.test")
    header = vapid.authorization("https://push.example.net", 1_000_000.0)
    token, _, key = header.removeprefix("vapid t=").partition(",k=")
    assert key == public_vapid_key(SAMPLE_VAPID_PRIVATE_KEY)
    assert json.loads(decode_base64url(token.split(".")[1])) == {
        "aud": "https://push.example.net",
        "exp": 1_000_000 + LIFETIME_SECONDS,
        "sub": "mailto:ops@example.test",
    }
    assert vapid.authorization("https://push.example.net", 1_000_100.0) == header
    assert vapid.authorization("https://push.example.net", 1_010_000.0) != header
    assert vapid.authorization("https://other.example.net", 1_000_100.0) != header
