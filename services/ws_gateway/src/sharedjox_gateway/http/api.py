"""The Pusher HTTP API: one request in, one answer out. How requests travel is up to `connection` and `fallback`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import Any, Final

import hiredis
from sharedjox_contracts.channels import is_valid_channel_name
from sharedjox_contracts.control import TerminateUser, open_command
from sharedjox_contracts.redis_layout import CONTROL_CHANNEL, replay_key
from sharedjox_kit.logs import get_logger

from sharedjox_gateway.apps import App, Apps
from sharedjox_gateway.broker.durable import DurableEvent
from sharedjox_gateway.broker.redis import RedisBroker
from sharedjox_gateway.stats import Stats

from .authentication import TOLERANCE_SECONDS, Authenticated, authenticate
from .channels import ChannelDirectory
from .events import MAX_USER_ID_LENGTH, read_batch, read_channel_event, read_event
from .exchange import EMPTY, Answer, ApiRequest, RefusedError, Respond, unavailable
from .publishing import EventPublishing
from .routing import Endpoint, Route, find_route

_log = get_logger(__name__)
UNKNOWN_LABEL: Final = "none"


class HttpApi:
    """Routes, authenticates, answers. `handle` never raises and always answers exactly once."""

    def __init__(
        self,
        apps: Apps,
        broker: RedisBroker,
        publishing: EventPublishing,
        directory: ChannelDirectory,
        stats: Stats,
    ) -> None:
        self._apps = apps
        self._broker = broker
        self._publishing = publishing
        self._directory = directory
        self._stats = stats
        self._budgets: dict[str, tuple[float, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def max_body_bytes(self) -> int:
        """Bytes of the largest sound body: a full batch of events that are all escapes, at any app's limits."""
        return max(
            65_536 + app.limits.max_batch_events * (6 * app.limits.max_event_bytes + 4096) for app in self._apps.listed
        )

    def handle(self, request: ApiRequest, respond: Respond) -> None:
        """Answer a request, now or later."""
        started = time.perf_counter()
        label = UNKNOWN_LABEL

        def counted(answer: Answer) -> None:
            self._stats.api_answered(label, answer.status, time.perf_counter() - started)
            respond(answer)

        try:
            route = find_route(request.path)
            label = route.endpoint.label
            _check_method(request.method, route.endpoint)
            known = authenticate(request, route, self._apps, time.time())
            if request.method == "POST":
                self._spend(known.app)
            if known.app.refuse_replays and request.method == "POST":
                self._run(self._unless_repeated(route, known, request, counted), counted)
            else:
                self._dispatch(route, known, request, counted)
        except RefusedError as refusal:
            counted(refusal.answer)
        except Exception:  # noqa: BLE001 - a bug costs one answer, not the connection
            _log.exception("api.failed", endpoint=label)
            counted(_FAILED)

    def _dispatch(self, route: Route, known: Authenticated, request: ApiRequest, respond: Respond) -> None:
        app = known.app
        match route.endpoint:
            case Endpoint.EVENTS:
                event = read_event(request.body, known.parameters, app.limits)
                self._publishing.publish_one(app, event, request, respond)
            case Endpoint.BATCH_EVENTS:
                self._publishing.publish_batch(app, read_batch(request.body, app.limits), request, respond)
            case Endpoint.CHANNEL_EVENTS:
                event = read_channel_event(route.subject, request.body, known.parameters, app.limits)
                self._publishing.publish_one(app, event, request, respond, status=202)
            case Endpoint.TERMINATE:
                self._terminate(app, route.subject, respond)
            case _:
                self._run(self._read(route, known, respond), respond)

    async def _read(self, route: Route, known: Authenticated, respond: Respond) -> None:
        app, name, directory = known.app, route.subject, self._directory
        match route.endpoint:
            case Endpoint.CHANNELS:
                answer = await directory.channels(app, known.parameters)
            case Endpoint.CHANNEL:
                answer = await directory.channel(app, name, known.parameters)
            case Endpoint.USERS:
                answer = await directory.users(app, name)
            case Endpoint.STATS:
                answer = await directory.stats(app, name)
            case _:
                answer = await directory.connections(app)
        respond(answer)

    def _terminate(self, app: App, user_id: str, respond: Respond) -> None:
        """Tell every gateway to close the connections of a user."""
        if not is_valid_channel_name(user_id, max_length=MAX_USER_ID_LENGTH):
            raise RefusedError(400, f"Invalid user id {user_id[:200]!r}: letters, digits and _-=@,.; are allowed")
        event = DurableEvent(*open_command(TerminateUser(user_id), secrets.token_hex(12)))

        def sent(error: Exception | None) -> None:
            respond(unavailable().answer if error is not None else EMPTY)

        self._broker.publish_durable(app.id, CONTROL_CHANNEL, [event], 0, sent)

    # --- limits -----------------------------------------------------------------------------------------------------

    def _spend(self, app: App) -> None:
        """A token bucket per app and process. Raises: RefusedError (429)."""
        rate = float(app.limits.api_requests_per_second)
        if not rate:
            return
        now = time.monotonic()
        tokens, since = self._budgets.get(app.id, (rate, now))
        tokens = min(rate, tokens + (now - since) * rate)
        if tokens < 1:
            self._budgets[app.id] = (tokens, now)
            raise RefusedError(
                429, f"Too many requests: this app may send {rate:g} a second to each gateway", ("retry-after: 1",)
            )
        self._budgets[app.id] = (tokens - 1, now)

    async def _unless_repeated(self, route: Route, known: Authenticated, request: ApiRequest, respond: Respond) -> None:
        """For apps that ask for it: a signature is good once, on whichever node."""
        commander = self._broker.commander
        if commander is None:
            raise unavailable()
        key = replay_key(known.app.id, known.signature)
        if await commander.call("SET", key, 1, "NX", "EX", 2 * TOLERANCE_SECONDS) is None:
            raise RefusedError(401, "This signature was used before: a repeated request takes a new timestamp or body")
        self._dispatch(route, known, request, respond)

    def _run(self, work: Coroutine[Any, Any, None], respond: Respond) -> None:
        task = asyncio.get_running_loop().create_task(_answering(work, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_FAILED: Final = RefusedError(500, "The gateway failed on this request; its log says more").answer


async def _answering(work: Coroutine[Any, Any, None], respond: Respond) -> None:
    """Turn what an endpoint raises into its answer."""
    try:
        await work
    except RefusedError as refusal:
        respond(refusal.answer)
    except (OSError, hiredis.HiredisError):
        respond(unavailable().answer)
    except Exception:  # noqa: BLE001 - a bug costs one answer, not a publisher that waits for ever
        _log.exception("api.failed")
        respond(_FAILED)


def _check_method(method: str, endpoint: Endpoint) -> None:
    if method != endpoint.method and not (method == "HEAD" and endpoint.method == "GET"):
        allowed = "GET, HEAD" if endpoint.method == "GET" else endpoint.method
        raise RefusedError(405, f"{endpoint.label} takes {allowed}, not {method}", (f"allow: {allowed}",))
