"""Where a Redis is, read from REDIS_URL; where a Redis Cluster is, read from REDIS_CHANNELS_URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlsplit

SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379

Place: TypeAlias = tuple[str, int]
"""Host and port."""


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
    sentinels: tuple[Place, ...] = ()
    master: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Some nodes of a Redis Cluster, which know the others, and how to log in to each of them."""

    seeds: tuple[Place, ...]
    username: str = ""
    password: str = ""
    use_tls: bool = False

    def node(self, place: Place) -> RedisAddress:
        """The address of one node."""
        host, port = place
        return RedisAddress(host, port, username=self.username, password=self.password, use_tls=self.use_tls)

    def node_url(self, place: Place) -> str:
        """The same as text."""
        host, port = place
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        return f"{'rediss' if self.use_tls else 'redis'}://{login}{f'[{host}]' if ':' in host else host}:{port}/0"

    def __str__(self) -> str:
        """Without the log-in: for logs and reports."""
        return ",".join(f"{host}:{port}" for host, port in self.seeds)


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
    if parts.scheme in ("redis+cluster", "rediss+cluster"):
        msg = "REDIS_URL cannot be a Cluster, the queue needs one server; give the Cluster to REDIS_CHANNELS_URL"
        raise ValueError(msg)
    if parts.scheme not in ("redis", "rediss"):
        msg = f"REDIS_URL must begin with redis://, rediss://, unix:// or redis+sentinel://, not {parts.scheme!r}"
        raise ValueError(msg)
    return RedisAddress(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or REDIS_PORT,
        username=username,
        password=password,
        database=_database(parts.path.strip("/")),
        use_tls=parts.scheme == "rediss",
    )


def parse_cluster_url(url: str) -> ClusterAddress:
    """Read `redis+cluster://user:password@host:port,host:port` (rediss+cluster: TLS). Raises: ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis+cluster", "rediss+cluster"):
        msg = f"REDIS_CHANNELS_URL must begin with redis+cluster:// or rediss+cluster://, not {parts.scheme!r}"
        raise ValueError(msg)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    seeds = _places(hosts, "REDIS_CHANNELS_URL", REDIS_PORT)
    if not seeds or parts.path.strip("/") not in ("", "0"):
        msg = "REDIS_CHANNELS_URL: redis+cluster://host:port,host:port needs hosts, and a Cluster has no databases"
        raise ValueError(msg)
    return ClusterAddress(seeds, unquote(username), unquote(password), parts.scheme == "rediss+cluster")


def _behind_sentinels(url: str) -> RedisAddress:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    master, _, database = parts.path.strip("/").partition("/")
    sentinels = _places(hosts, "REDIS_URL", SENTINEL_PORT)
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


def _places(text: str, setting: str, port: int) -> tuple[Place, ...]:
    return tuple(_place(host.strip(), setting, port) for host in text.split(",") if host.strip())


def _place(text: str, setting: str, port: int) -> Place:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        msg = f"{setting}: {text!r} is no host:port"
        raise ValueError(msg)
    return parts.hostname, parts.port or port


def _database(text: str) -> int:
    if text and not text.isdigit():
        msg = f"REDIS_URL: database {text!r} is not a number"
        raise ValueError(msg)
    return int(text or 0)
