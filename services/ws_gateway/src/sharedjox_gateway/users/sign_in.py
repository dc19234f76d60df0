"""Reading a sign-in. Source: Pusher Channels, "User authentication"."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct
from sharedjox_contracts.signatures import user_string

from sharedjox_gateway.apps import App, Apps
from sharedjox_gateway.presence.member import MAX_USER_ID_LENGTH, NO_INFO
from sharedjox_gateway.protocol.messages import SigninData

MAX_WATCHLIST: Final = 100


class SignInRefusedError(Exception):
    """A sign-in that is answered with an in-band `pusher:error`. The text goes back to the client."""


class SignedIn(Struct, frozen=True):
    """What a connection signed in with. `info` is JSON, as given."""

    user_id: str
    info: bytes
    watchlist: tuple[str, ...]
    is_watchlist_cut: bool


class _UserData(Struct, frozen=True):
    id: str
    user_info: Raw = Raw(NO_INFO)
    watchlist: list[str | int] = []


_USER_DATA: Final = msgspec.json.Decoder(_UserData)


def check_sign_in(app: App, apps: Apps, socket_id: str, data: SigninData) -> SignedIn:
    """Verify the signature over the raw `user_data` and read it. Raises: SignInRefusedError."""
    if not app.user_authentication:
        raise SignInRefusedError("User authentication is not enabled for this app")
    key, colon, signature = data.auth.partition(":")
    if not colon or key != app.key:
        raise SignInRefusedError("Invalid key in sign-in auth data")
    if not apps.signer(app).verify(user_string(socket_id, data.user_data), signature):
        raise SignInRefusedError(
            f"Invalid signature: expected the HMAC SHA256 hex digest of {socket_id}::user::<user_data>"
        )
    try:
        user = _USER_DATA.decode(data.user_data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SignInRefusedError(f"user_data is not valid: {error}") from error
    if not 0 < len(user.id) <= MAX_USER_ID_LENGTH:
        raise SignInRefusedError(f"user_data needs an id of 1 to {MAX_USER_ID_LENGTH} characters")
    watchlist = tuple(dict.fromkeys(str(watched) for watched in user.watchlist[:MAX_WATCHLIST]))
    return SignedIn(user.id, bytes(user.user_info), watchlist, len(user.watchlist) > MAX_WATCHLIST)
