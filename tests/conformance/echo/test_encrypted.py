"""Encrypted channels end to end: official libraries encrypt, stock pusher-js and Echo decrypt, the gateway cannot."""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from pusher import Pusher
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.auth_endpoint import AuthEndpoint, auth_endpoint
from tests.support.gateway import APP, Clients, GatewayNode, running_gateways
from tests.support.http_api import call
from tests.support.node_client import NodeClient, node_client

VAULT = "private-encrypted-vault"
VECTOR = {
    "name": "secret",
    "channels": [VAULT],
    "data": '{"nonce":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX","ciphertext":"CKfBbA6OmiDTm7WLPXnjEHPlVgzSoNTGzJnwSJtf5gg="}',
}
"""`{"message":"hi"}` under the endpoint's key with a fixed nonce; made with PyNaCl and tweetnacl."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url) as started:
        yield started


@pytest.fixture
async def back_end() -> AsyncIterator[AuthEndpoint]:
    async with auth_endpoint() as endpoint:
        yield endpoint


def sdk(node: GatewayNode, back_end: AuthEndpoint) -> Pusher:
    """The application's own library, with the key."""
    return Pusher(
        app_id=APP.id, key=APP.key, secret=APP.secret, host="127.0.0.1", port=node.port, ssl=False,
        encryption_master_key_base64=b64encode(back_end.master_key).decode(),
    )  # fmt: skip


def stock(
    node: GatewayNode, back_end: AuthEndpoint, library: Literal["echo", "pusher"] = "pusher"
) -> contextlib.AbstractAsyncContextManager[NodeClient]:
    """A client that gets its keys from the application."""
    return node_client(node.port, library=library, token="7", api_port=back_end.port)


async def test_a_stock_client_decrypts_the_worked_vector(nodes: list[GatewayNode], back_end: AuthEndpoint) -> None:
    async with stock(nodes[1], back_end) as client:
        await client.subscribe(VAULT)
        assert (await call(nodes[0], "POST", "/events", VECTOR)).body == b"{}"
        assert (await client.wait_event("secret")).data == {"message": "hi"}
        assert not client.errors


@pytest.mark.parametrize("data", [{"text": "Adèle ✓", "big": "x" * 5000}, "plain text", [1, None]])
async def test_what_a_library_encrypts_a_stock_client_decrypts(
    nodes: list[GatewayNode], back_end: AuthEndpoint, clients: Clients, data: Any
) -> None:
    async with stock(nodes[1], back_end) as client:
        await client.subscribe(VAULT)
        eavesdropper = await clients.open(nodes[0])
        await eavesdropper.subscribe(VAULT)
        sdk(nodes[0], back_end).trigger(VAULT, "e", data)
        assert (await client.wait_event("e")).data == data
        passed_on = (await eavesdropper.wait_for("e")).data
        assert sorted(passed_on) == ["ciphertext", "nonce"]
        assert b"text" not in b64decode(passed_on["ciphertext"])


async def test_newcomers_decrypt_the_cached_event(nodes: list[GatewayNode], back_end: AuthEndpoint) -> None:
    channel = "private-encrypted-cache-last"
    sdk(nodes[0], back_end).trigger(channel, "e", {"n": 1})
    async with stock(nodes[1], back_end) as client:
        await client.subscribe(channel)
        assert (await client.wait_event("e")).data == {"n": 1}


async def test_echo_listens_to_encrypted_channels(nodes: list[GatewayNode], back_end: AuthEndpoint) -> None:
    async with stock(nodes[1], back_end, "echo") as client:
        await client.listen("private-encrypted-echo", ".e")
        await client.subscribe("private-encrypted-echo")
        sdk(nodes[0], back_end).trigger("private-encrypted-echo", "e", {"n": 2})
        assert (await client.wait_event(".e")).data == {"n": 2}


async def test_a_key_that_was_changed_is_asked_for_again(nodes: list[GatewayNode], back_end: AuthEndpoint) -> None:
    async with stock(nodes[1], back_end) as client:
        await client.subscribe(VAULT)
        back_end.master_key = b"fedcba9876543210fedcba9876543210"
        sdk(nodes[0], back_end).trigger(VAULT, "e", {"n": 3})
        assert (await client.wait_event("e")).data == {"n": 3}
        assert back_end.asked == [VAULT, VAULT]


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()
