"""Where a Redis is, read from REDIS_URL."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is and how to log in.

    With `sentinels` (host, port) these say where the node `master` that takes writes is just now; `host`, `port` and
    `path` mean nothing then.
    """

    host: str
    port: int
    path: str = ""
    username: str = ""
    password: str = ""
    database: int = 0
    use_tls: bool = False
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""


def parse_redis_url(url: str) -> RedisAddress:
    """Read `redis://`, `rediss://`, `unix://` or `redis+sentinel://user:password@host:port,host:port/master/database`.

    The log-in of the Sentinels themselves, if they have one, is in the query: `?sentinel_username=&sentinel_password=`;
    `rediss+sentinel` means TLS to Redis. Raises: ValueError with what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme in ("redis+sentinel", "rediss+sentinel"):
        return _behind_sentinels(url)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        return RedisAddress(host="", port=0, path=parts.path, username=username, password=password)
    if parts.scheme not in ("redis", "rediss"):
        msg = f"REDIS_URL must begin with redis://, rediss://, unix:// or redis+sentinel://, not {parts.scheme!r}"
        raise ValueError(msg)
    return RedisAddress(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 6379,
        username=username,
        password=password,
        database=_database(parts.path.strip("/")),
        use_tls=parts.scheme == "rediss",
    )


def _behind_sentinels(url: str) -> RedisAddress:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    master, _, database = parts.path.strip("/").partition("/")
    sentinels = tuple(_place(host.strip()) for host in hosts.split(",") if host.strip())
    if not sentinels or not master:
        msg = "REDIS_URL: redis+sentinel://host:port,host:port/name-of-the-master needs the hosts and the name"
        raise ValueError(msg)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return RedisAddress(
        host="",
        port=0,
        username=unquote(username),
        password=unquote(password),
        database=_database(database),
        use_tls=parts.scheme == "rediss+sentinel",
        sentinels=sentinels,
        master=unquote(master),
        sentinel_username=query.get("sentinel_username", ""),
        sentinel_password=query.get("sentinel_password", ""),
    )


def _place(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        msg = f"REDIS_URL: {text!r} is no host:port"
        raise ValueError(msg)
    return parts.hostname, parts.port or SENTINEL_PORT


def _database(text: str) -> int:
    if text and not text.isdigit():
        msg = f"REDIS_URL: database {text!r} is not a number"
        raise ValueError(msg)
    return int(text or 0)
