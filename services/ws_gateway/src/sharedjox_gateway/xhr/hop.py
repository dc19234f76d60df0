"""What makes a request of one gateway to another credible: a signature that only holders of the app's secret can make.

The port behind it may be reachable for more than gateways (a network of containers, a cluster without policies), and
a request through it reads and writes somebody's session. All gateways have the app's secret; what they sign with is
derived from it, so that no signature that the secret gives elsewhere is good here, nor the other way round.
"""

from __future__ import annotations

import hashlib
from typing import Final

from sharedjox_contracts.signatures import matches, sign

from sharedjox_gateway.apps import App

HOP_HEADER: Final = "x-sharedjox-hop"
TOLERANCE_SECONDS: Final = 60
"""How far the clocks of two gateways may be apart, and how long a recorded request could be repeated."""
_PURPOSE: Final = "sharedjox: from gateway to gateway"


def sign_hop(app: App, path: str, body: bytes, now: float) -> str:
    """The value of HOP_HEADER for a request to `path` with this body. `now` is in Unix seconds."""
    return f"{now:.0f}:{_signature(app.secret, f'{now:.0f}', path, body)}"


def is_signed_hop(app: App, value: str, path: str, body: bytes, now: float) -> bool:
    """Whether a gateway with one of the app's secrets sent this request just now."""
    timestamp, _, given = value.partition(":")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    secrets = (app.secret, *app.accepted_secrets)
    return any(matches(_signature(secret, timestamp, path, body), given) for secret in secrets)


def _signature(secret: str, timestamp: str, path: str, body: bytes) -> str:
    return sign(sign(secret, _PURPOSE), f"{timestamp}\n{path}\n{hashlib.sha256(body).hexdigest()}")
