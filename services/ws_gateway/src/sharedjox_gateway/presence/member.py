"""Who joins a presence channel: read from `channel_data`, or from the sign-in when there is none."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from sharedjox_gateway.apps import AppLimits
from sharedjox_gateway.errors import SubscribeRefusedError

MAX_USER_ID_LENGTH: Final = 128
NO_INFO: Final = b"null"


class PresenceMember(Struct, frozen=True):
    """A user as the others see it. `info` is the JSON that the application gave, byte for byte."""

    user_id: str
    info: bytes


class _ChannelData(Struct, frozen=True):
    user_id: int | str
    user_info: Raw = Raw(NO_INFO)


_CHANNEL_DATA: Final = msgspec.json.Decoder(_ChannelData)


def decode_member(channel_data: str, limits: AppLimits) -> PresenceMember:
    """Read `channel_data`. The id is taken in string form: 7 and "7" are one user, 0 is one too.

    Raises: SubscribeRefusedError when there is no user id, or something in it is too large.
    """
    try:
        data = _CHANNEL_DATA.decode(channel_data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SubscribeRefusedError("AuthError", f"channel_data is not valid: {error}", 401) from error
    return checked_member(str(data.user_id), bytes(data.user_info), limits)


def checked_member(user_id: str, info: bytes, limits: AppLimits) -> PresenceMember:
    """Apply the limits. Raises: SubscribeRefusedError."""
    if not user_id:
        raise SubscribeRefusedError("AuthError", "channel_data has no user_id", 401)
    if len(user_id) > MAX_USER_ID_LENGTH:
        raise SubscribeRefusedError("LimitReached", f"A user_id has at most {MAX_USER_ID_LENGTH} characters", 4301)
    if len(info) > limits.max_presence_member_bytes:
        raise SubscribeRefusedError(
            "LimitReached", f"A member's user_info has at most {limits.max_presence_member_bytes} bytes", 4301
        )
    return PresenceMember(user_id, info)
