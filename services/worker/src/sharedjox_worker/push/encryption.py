"""Encrypting a message for one browser (RFC 8291, with the content coding aes128gcm of RFC 8188). Pure.

The push service carries the message and cannot read it: only the browser has the private half of `p256dh`.
"""

from __future__ import annotations

import base64
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD_BYTES: Final = 4096
"""What every push service must take (RFC 8030 section 7.2); ours is always one record."""
MAX_MESSAGE_BYTES: Final = RECORD_BYTES - 86 - 16 - 1
"""Less the header (salt, size, key), the authentication tag and the delimiter."""
_SALT_BYTES: Final = 16
_LAST_RECORD: Final = b"\x02"


class MessageTooLargeError(ValueError):
    """The message does not fit into one record."""


def encrypt(
    message: bytes,
    *,
    p256dh: str,
    auth: str,
    sender: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of a push request. `p256dh` and `auth` are the browser's, base64url.

    `sender` and `salt` are random and used once; they are parameters for RFC 8291's example only.
    Raises: MessageTooLargeError; ValueError for a key that is no point on P-256.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        msg = f"a push has {MAX_MESSAGE_BYTES} bytes at most, not {len(message)}"
        raise MessageTooLargeError(msg)
    sender = sender or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(_SALT_BYTES)
    browser_key = decode_base64url(p256dh)
    browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), browser_key)
    sender_key = sender.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    secret = _derive(
        sender.exchange(ec.ECDH(), browser),
        salt=decode_base64url(auth),
        info=b"WebPush: info\x00" + browser_key + sender_key,
        length=32,
    )
    key = _derive(secret, salt=salt, info=b"Content-Encoding: aes128gcm\x00", length=16)
    nonce = _derive(secret, salt=salt, info=b"Content-Encoding: nonce\x00", length=12)
    header = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(sender_key)]) + sender_key
    return header + AESGCM(key).encrypt(nonce, message + _LAST_RECORD, None)


def decode_base64url(text: str) -> bytes:
    """Base64url with or without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
