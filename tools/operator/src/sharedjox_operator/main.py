"""The command `sharedjox`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_contracts.redis_layout import channel_slot
from sharedjox_kit.cluster_clients import ClusterClients
from sharedjox_kit.environment import load_settings
from sharedjox_kit.redis import create_redis
from sharedjox_kit.redis_address import parse_cluster_url
from sharedjox_marketplace.database import DATABASE_ERRORS
from sharedjox_outbox.claims import RecordPool
from sharedjox_outbox.postgres import create_relay_pool

from . import connections, doctor, drain, ledger, parked, rotation, wallets
from .connections import ServerOf
from .errors import OperatorError
from .findings import Finding, Level
from .settings import OperatorSettings

_EPILOG = "REDIS_URL, REDIS_CHANNELS_URL, DATABASE_URL and REVERB_APP_ID say where all is, as for the services."


@dataclass(frozen=True, slots=True)
class Platform:
    """What commands talk to. Nothing connects before it is asked."""

    pool: RecordPool
    redis: Redis
    channels: ClusterClients | None
    """The Cluster that channels are on, where there is one."""
    app_id: str

    async def find_channels(self) -> ServerOf:
        """Which server has the history of a channel."""
        channels = self.channels
        if channels is None:
            return lambda _app_id, _channel: self.redis
        await channels.refresh()
        return lambda app_id, channel: channels.client(channels.owner(channel_slot(app_id, channel)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Status 0: done and well; 1: not, with one line that says why."""
    options = _parser().parse_args(arguments)
    try:
        status = _rotate(options) if options.command == "rotate-keys" else asyncio.run(_run(options))
    except OperatorError as error:
        _leave(str(error))
    except (RedisError, *DATABASE_ERRORS, OSError) as error:
        _leave(f"{type(error).__name__}: {error}; `sharedjox doctor` says more")
    raise SystemExit(status)


def _leave(line: str) -> None:
    sys.stderr.write(f"error: {line}\n")
    raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sharedjox", description="Operate a running SharedJox.", epilog=_EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="look at every part and say what is wrong; status 1 when something is")
    commands.add_parser("connections", help="processes, connections, clocks, over the whole cluster")

    channels = commands.add_parser("channels", help="occupied channels, the busiest first")
    channels.add_argument("--prefix", default="", help="only names that begin with this")
    channels.add_argument("--limit", type=_count, default=50)

    shelf = commands.add_parser("parked", help="events that could not be published").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    listed = shelf.add_parser("list", help="which, and why")
    listed.add_argument("--limit", type=_count, default=100)
    listed.add_argument("--json", action="store_true", help="a JSON object a line, with payloads")
    replayed = shelf.add_parser("replay", help="publish them after all, when the cause is gone")
    which = replayed.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="*", type=int, default=[])
    which.add_argument("--all", action="store_true")
    discarded = shelf.add_parser("discard", help="delete them for good; prints what they were")
    discarded.add_argument("id", nargs="+", type=int)

    books = commands.add_parser("ledger", help="the books of all wallets").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    books.add_parser("check", help="read every entry and say whether they add up; status 1 when they do not")

    purses = commands.add_parser("wallet", help="one user's money").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    statement = purses.add_parser("statement", help="every movement with the balances after it, newest first")
    statement.add_argument("user", metavar="USER", help="id or e-mail address")
    statement.add_argument("--limit", type=_count, default=50, help="lines a page")
    statement.add_argument("--before", type=int, metavar="ID", help="the next page: lines older than this one")
    statement.add_argument("--json", action="store_true", help="a JSON object a line")

    away = commands.add_parser("drain", help="empty one gateway and end it; its supervisor starts it again")
    away.add_argument("process", help="its id, or how that begins (sharedjox connections)")
    away.add_argument("--timeout", type=float, default=180, metavar="SECONDS")
    away.add_argument("--alone", action="store_true", help="even when no other gateway can take its clients")

    keys = commands.add_parser(
        "rotate-keys",
        help="next step of a rotation: reads .env, APPS_FILE or a Kubernetes Secret (JSON), writes it changed",
    )
    keys.add_argument("key", choices=[one.value for one in rotation.Key])
    keys.add_argument("step", choices=[one.value for one in rotation.Step])
    keys.add_argument("--app", metavar="ID", help="which app of APPS_FILE")
    return parser


def _count(text: str) -> int:
    """For argparse: how many. Raises: argparse.ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        msg = f"must be a whole number above zero, not {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _rotate(options: argparse.Namespace) -> int:
    key, step = rotation.Key(options.key), rotation.Step(options.step)
    sys.stdout.write(rotation.rotate(sys.stdin.read(), key, step, app_id=options.app))
    sys.stderr.write(f"now roll {rotation.WHO_ROLLS[key, step]}\n")
    return 0


async def _run(options: argparse.Namespace) -> int:
    settings = load_settings(OperatorSettings)
    if options.command == "wallet":
        page = {"before_id": options.before, "limit": options.limit, "as_json": options.json}
        _say(await wallets.show_statement(settings.database_url, options.user, **page))
        return 0
    async with _platform(settings) as platform:
        if options.command == "doctor":
            return _report(await doctor.examine(platform.pool, platform.redis, platform.channels))
        if options.command == "ledger":
            return _report(await ledger.check_ledger(platform.pool))
        if options.command == "parked":
            _say(await _parked(platform, options))
        elif options.command == "drain":
            await drain.drain(platform.redis, options.process, alone=options.alone, seconds=options.timeout, say=_say)
        elif options.command == "channels":
            server_of, app_id = await platform.find_channels(), platform.app_id
            _say(await connections.show_channels(platform.redis, server_of, app_id, options.prefix, options.limit))
        else:
            _say(await connections.show_connections(platform.redis, [platform.app_id]))
    return 0


def _report(findings: Sequence[Finding]) -> int:
    _say("\n".join(map(str, findings)))
    return int(any(one.level is Level.FAIL for one in findings))


async def _parked(platform: Platform, options: argparse.Namespace) -> str:
    if options.action == "list":
        return await parked.show_parked(platform.pool, limit=options.limit, as_json=options.json)
    if options.action == "replay":
        return await parked.replay(platform.pool, platform.redis, None if options.all else options.id)
    return await parked.discard(platform.pool, options.id)


@asynccontextmanager
async def _platform(settings: OperatorSettings) -> AsyncIterator[Platform]:
    pool = await create_relay_pool(settings.database_url, size=2, durable=True)
    redis = create_redis(settings.redis_url, retries=0, timeout_seconds=5.0)
    url = settings.redis_channels_url
    channels = ClusterClients(parse_cluster_url(url), timeout_seconds=5.0) if url else None
    try:
        yield Platform(pool, redis, channels, settings.reverb_app_id)
    finally:
        if channels is not None:
            await channels.aclose()
        await redis.aclose()
        await pool.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
