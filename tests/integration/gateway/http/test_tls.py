"""The API over TLS that the gateway ends itself."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sharedjox_devstack.ports import free_port

from tests.support.gateway import GatewayNode
from tests.support.http_api import ApiConnection, sign_request
from tests.support.processes import ServiceProcess, python_module, running

EVENT = {"name": "e", "channels": ["tls"], "data": "{}"}


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for `localhost` and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture
def secure_node(tmp_path: Path, redis_url: str) -> Iterator[tuple[GatewayNode, ssl.SSLContext]]:
    certificate, key = make_certificate(tmp_path)
    port, admin_port = free_port(), free_port()
    service = ServiceProcess(
        "gateway",
        python_module("sharedjox_gateway.main"),
        log_file=tmp_path / "gateway.log",
        env={
            "REDIS_URL": redis_url,
            "REVERB_PORT": str(port),
            "REVERB_SCHEME": "https",
            "TLS_CERTIFICATE": str(certificate),
            "TLS_KEY": str(key),
            "GATEWAY_ADMIN_PORT": str(admin_port),
            "DRAIN_SECONDS": "0",
            "REQUEST_TIMEOUT_SECONDS": "1",
        },
        ready_port=admin_port,
    )
    with running(service):
        yield GatewayNode(service, port), ssl.create_default_context(cafile=certificate)


async def test_requests_over_tls(secure_node: tuple[GatewayNode, ssl.SSLContext]) -> None:
    node, context = secure_node
    connection = ApiConnection(
        *await asyncio.open_connection("127.0.0.1", node.port, ssl=context, server_hostname="localhost")
    )
    health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    event = sign_request("POST", "/events", EVENT).encode()
    for request in (event, event, health, event):
        await connection.send(request)
        assert (await connection.answer()).status == 200
    await connection.send(event + event)
    assert [(await connection.answer()).body for _ in range(2)] == [b"{}", b"{}"]
    await connection.send(b"POST /apps/1/events HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nxxx")
    assert (await connection.answer()).status == 413
    await connection.ended()
    await connection.close()
