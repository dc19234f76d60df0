"""Ports handed out to servers that start later stay theirs."""

from __future__ import annotations

import socket

import pytest
from sharedjox_devstack.ports import free_port, is_free


def test_a_port_that_was_handed_out_goes_to_servers_and_to_nobody_who_takes_any_port() -> None:
    port = free_port()
    assert is_free(port)
    with socket.socket() as somebody, pytest.raises(OSError, match="in use"):
        somebody.bind(("127.0.0.1", port))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not is_free(port)


def test_processes_that_share_a_port_may_share_one_that_was_handed_out() -> None:
    port = free_port()
    with socket.socket() as first, socket.socket() as second:
        for server in (first, second):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(("127.0.0.1", port))
            server.listen()


def test_no_port_is_handed_out_twice() -> None:
    assert len({free_port() for _ in range(200)}) == 200
