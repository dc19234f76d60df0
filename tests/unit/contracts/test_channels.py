import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_contracts import channels
from sharedjox_contracts.channels import (
    ChannelKind,
    channel_kind,
    is_valid_channel_name,
    is_valid_socket_id,
    parse_marketplace_channel,
)

ALLOWED = "abcXYZ019_-=@,.;"


@pytest.mark.parametrize(
    "name",
    ["", "a\n", "\na", "a b", "a:b", "a/b", "ä", "a\x00", "#", "#a", "a#b", "#server-to-user-", "a" * 201, "a{b}"],
)
def test_invalid_names(name: str) -> None:
    assert not is_valid_channel_name(name)


@pytest.mark.parametrize("name", ["a", "a" * 200, "jobs.discovery", "private-job.1", "#server-to-user-7", "A_-=@,.;9"])
def test_valid_names(name: str) -> None:
    assert is_valid_channel_name(name)


def test_the_limit_can_be_set() -> None:
    assert is_valid_channel_name("a" * 164, max_length=164)
    assert not is_valid_channel_name("a" * 165, max_length=164)


@given(st.text(alphabet=ALLOWED, min_size=1, max_size=200))
def test_every_text_of_allowed_characters_is_a_name(name: str) -> None:
    assert is_valid_channel_name(name)


@given(st.text(max_size=40))
def test_other_characters_are_refused(name: str) -> None:
    body = name.removeprefix(channels.SERVER_TO_USER_PREFIX)
    allowed = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=@,.;")
    assert is_valid_channel_name(name) == (bool(body) and set(body) <= allowed)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("jobs.discovery", ChannelKind.PUBLIC),
        ("privatefoo", ChannelKind.PUBLIC),
        ("presence", ChannelKind.PUBLIC),
        ("Private-a", ChannelKind.PUBLIC),
        ("private-", ChannelKind.PRIVATE),
        ("private-a", ChannelKind.PRIVATE),
        ("private-encrypteda", ChannelKind.PRIVATE),
        ("private-encrypted-a", ChannelKind.PRIVATE_ENCRYPTED),
        ("private-encrypted-cache-a", ChannelKind.PRIVATE_ENCRYPTED_CACHE),
        ("private-cache-a", ChannelKind.PRIVATE_CACHE),
        ("presence-a", ChannelKind.PRESENCE),
        ("presence-cache-a", ChannelKind.PRESENCE_CACHE),
        ("cache-a", ChannelKind.CACHE),
        ("#server-to-user-1", ChannelKind.SERVER_TO_USER),
    ],
)
def test_kinds(name: str, kind: ChannelKind) -> None:
    assert channel_kind(name) is kind


def test_what_kinds_promise() -> None:
    signed = {kind for kind in ChannelKind if kind.needs_signature}
    assert signed == set(ChannelKind) - {ChannelKind.PUBLIC, ChannelKind.CACHE, ChannelKind.SERVER_TO_USER}
    assert {kind for kind in ChannelKind if kind.is_presence} == {ChannelKind.PRESENCE, ChannelKind.PRESENCE_CACHE}
    assert all(not kind.allows_client_events for kind in ChannelKind if kind.is_encrypted)


@pytest.mark.parametrize(
    "socket_id", ["", ".", "1.", ".1", "1.2\n", "1.2.3", "a.1", "1,2", "\u0661.\u0662", "1.2:private-x"]
)
def test_bad_socket_ids(socket_id: str) -> None:
    assert not is_valid_socket_id(socket_id)


def test_good_socket_id() -> None:
    assert is_valid_socket_id("123456789.987654321")


def test_marketplace_channels_come_apart_as_they_were_built() -> None:
    for build, prefix, topic in (
        (channels.private_job, "private", "job"),
        (channels.presence_job, "presence", "job"),
        (channels.private_user, "private", "user"),
    ):
        parsed = parse_marketplace_channel(build(42))
        assert parsed is not None
        assert (parsed.prefix, parsed.topic, parsed.number) == (prefix, topic, 42)


@pytest.mark.parametrize(
    "name",
    ["private-job.0", "private-job.01", "private-job.-1", "private-job.1\n", "private-job.1.2", "private-job.", "job.1",
     "private-job.\u0663", "private-job." + "9" * 20, "private-team.1"],
)  # fmt: skip
def test_other_names_are_no_marketplace_channels(name: str) -> None:
    assert parse_marketplace_channel(name) is None
