"""Telling push services who we are (RFC 8292): a signed statement for each service, made once in a while. Pure."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from sharedjox_marketplace.notifications.push_rules import public_vapid_key

from .encryption import decode_base64url

LIFETIME_SECONDS: Final = 12 * 3600
"""RFC 8292 allows a day; clocks differ."""
_RENEW_SECONDS: Final = 3600
_REMEMBERED: Final = 256


class Vapid:
    """Signs with one key. `subject`: a mailto: or https: address at which a push service reaches us."""

    def __init__(self, private_key: str, subject: str) -> None:
        self._key = ec.derive_private_key(int.from_bytes(decode_base64url(private_key), "big"), ec.SECP256R1())
        self._public = public_vapid_key(private_key)
        self._subject = subject
        self._made: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def authorization(self, origin: str, now: float) -> str:
        """The Authorization header for a push service (`https://host[:port]`). `now` in Unix seconds."""
        made = self._made.get(origin)
        if made is None or not made[0] <= now < made[0] + _RENEW_SECONDS:
            made = (now, self._sign(origin, int(now) + LIFETIME_SECONDS))
            self._made[origin] = made
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        return f"vapid t={made[1]},k={self._public}"

    def _sign(self, audience: str, expires_at: int) -> str:
        claims = {"aud": audience, "exp": expires_at, "sub": self._subject}
        signed = ".".join(_encode(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
