"""REDIS_URL and REDIS_CHANNELS_URL, in all their forms."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sharedjox_kit.environment import ChannelSettings, ServiceSettings
from sharedjox_kit.redis_address import ClusterAddress, RedisAddress, parse_cluster_url, parse_redis_url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost:6379", "must begin with redis://"),
        ("redis://localhost/one", "database 'one' is not a number"),
        ("redis+sentinel://localhost:26379", "needs the hosts and the name"),
        ("redis+sentinel:///events", "needs the hosts and the name"),
        ("redis+sentinel://:26379/events", "':26379' is no host:port"),
        ("redis+sentinel://localhost/events/one", "database 'one' is not a number"),
        ("redis+cluster://localhost:6379", "give the Cluster to REDIS_CHANNELS_URL"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_redis_url(url)


def test_settings_refuse_it_too() -> None:
    with pytest.raises(ValidationError, match="must begin with redis://"):
        ServiceSettings(redis_url="amqp://localhost")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", RedisAddress("localhost", 6379)),
        ("redis://:pa%40ss@h:1/2", RedisAddress("h", 1, password="pa@ss", database=2)),
        ("rediss://me:secret@h:1", RedisAddress("h", 1, username="me", password="secret", use_tls=True)),
        ("unix:///run/redis.sock", RedisAddress("", 0, path="/run/redis.sock")),
    ],
)
def test_one_server(url: str, address: RedisAddress) -> None:
    assert parse_redis_url(url) == address


def test_sentinels_with_log_ins_of_their_own_and_of_the_server() -> None:
    url = "rediss+sentinel://me:pa%40ss@one:1,two,[::1]:3/events/4?sentinel_username=watch&sentinel_password=dog"
    assert parse_redis_url(url) == RedisAddress(
        "",
        0,
        username="me",
        password="pa@ss",
        database=4,
        use_tls=True,
        sentinels=(("one", 1), ("two", 26379), ("::1", 3)),
        master="events",
        sentinel_username="watch",
        sentinel_password="dog",
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://localhost:6379/0", "must begin with redis\\+cluster://"),
        ("redis+cluster://", "needs hosts"),
        ("redis+cluster://localhost/3", "a Cluster has no databases"),
        ("redis+cluster://:7000", "REDIS_CHANNELS_URL: ':7000' is no host:port"),
    ],
)
def test_what_is_no_cluster_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_cluster_url(url)
    with pytest.raises(ValidationError, match=reason):
        ChannelSettings(redis_channels_url=url)


def test_a_cluster_whose_nodes_share_a_log_in() -> None:
    address = parse_cluster_url("rediss+cluster://me:pa%40ss@one:7000, two,[::1]:3/")
    assert address == ClusterAddress((("one", 7000), ("two", 6379), ("::1", 3)), "me", "pa@ss", use_tls=True)
    assert address.node(("two", 1)) == RedisAddress("two", 1, username="me", password="pa@ss", use_tls=True)
    assert parse_redis_url(address.node_url(("::1", 3))) == address.node(("::1", 3))
    assert "pa" not in str(address), "reports and logs show it"
    assert ChannelSettings(redis_channels_url="redis+cluster://:secret@one:1").channels_place == "one:1"
