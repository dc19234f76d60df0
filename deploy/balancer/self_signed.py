"""Write a self-signed certificate and its key as one PEM file, for a balancer on a developer's machine.

Runs in the gateway's image (which has `cryptography`) before the balancer starts. A certificate that is still good for
a week is left alone; for real names put a real certificate in its place.
"""

from __future__ import annotations

import argparse
import datetime as dt
import ipaddress
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE: Final = dt.timedelta(days=90)
RENEW_BEFORE: Final = dt.timedelta(days=7)
KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,  # it signs itself, and strict verifiers (Python 3.13) want that said
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def is_good(path: Path, now: dt.datetime) -> bool:
    """Whether the file holds a certificate that need not be renewed yet."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return certificate.not_valid_after_utc - now > RENEW_BEFORE


def name_of(host: str) -> x509.GeneralName:
    """A host name or an address, as a certificate has it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def make(hosts: list[str], now: dt.datetime) -> bytes:
    """PEM of a new certificate for `hosts`, then its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([name_of(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def main() -> None:
    """Write the file unless it is good; `--group` lets the group read it that the balancer runs as."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("hosts", nargs="+", help="names and addresses, the first one is the subject")
    parser.add_argument("--group", type=int, help="numeric group id")
    options = parser.parse_args()
    path: Path = options.path
    now = dt.datetime.now(dt.UTC)
    if is_good(path, now):
        return
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "wb") as file:
        file.write(make(options.hosts, now))
    if options.group is not None:
        os.chown(unfinished, -1, options.group)
    unfinished.replace(path)


if __name__ == "__main__":
    main()
