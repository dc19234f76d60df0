"""A push service and the browsers behind it: it checks who sends, and only the browsers can read what was sent.

Decrypting and checking are done by other people's code (http_ece, py_vapid), not by what is tested.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

from .webhook_receiver import WebhookReceiver, WebhookRequest, webhook_receiver


def base64url(raw: bytes) -> str:
    """Without padding, as browsers write it."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Browser:
    """One browser's subscription, with the private half of its key."""

    endpoint: str
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _secret: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def p256dh(self) -> str:
        """Its public key."""
        return base64url(self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    @property
    def auth(self) -> str:
        """Its secret."""
        return base64url(self._secret)

    def read(self, request: WebhookRequest) -> dict[str, Any]:
        """The message in a push. Raises what http_ece raises when it is not for this browser."""
        assert request.headers["content-encoding"] == "aes128gcm"
        decrypted = http_ece.decrypt(request.body, private_key=self._key, auth_secret=self._secret, version="aes128gcm")
        message: dict[str, Any] = json.loads(decrypted)
        return message


@dataclass(slots=True)
class PushService:
    """Takes pushes over HTTP, answers as `receiver.answers` say."""

    receiver: WebhookReceiver

    @property
    def origin(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.receiver.port}"

    @property
    def requests(self) -> list[WebhookRequest]:
        """What came in, in order."""
        return self.receiver.requests

    def browser(self, name: str) -> Browser:
        """A browser that gets its pushes here."""
        return Browser(f"{self.origin}/push/{name}")

    def messages(self, browser: Browser) -> list[dict[str, Any]]:
        """What a browser has got, once the service made sure of the sender."""
        mine = [request for request in self.requests if self.origin + request.path == browser.endpoint]
        for request in mine:
            assert Vapid02.verify(request.headers["authorization"]), "not signed by the key that it names"
        return [browser.read(request) for request in mine]


@contextlib.asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """A push service on a free port of 127.0.0.1."""
    async with webhook_receiver() as receiver:
        yield PushService(receiver)
