"""One HTTP request to a receiver, within limits. Redirects are failures: they would lead past the address check."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Mapping
from typing import Final

import httpx

from .addresses import AddressRefusedError, resolve

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A receiver has nothing to tell us but a status; more than this of an answer is not read."""
USER_AGENT: Final = "SharedJox-Webhooks/1"


class Sender:
    """Sends to one URL. Has a connection pool of its own, because addresses are pinned and TLS names differ."""

    def __init__(self, url: str, *, timeout_seconds: float, allow_private: bool) -> None:
        self._url = httpx.URL(url)
        self._timeout_seconds = timeout_seconds
        self._allow_private = allow_private
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=timeout_seconds, limits=httpx.Limits(max_connections=2)
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, body: bytes, headers: Mapping[str, str]) -> str | None:
        """POST the body; returns None when the receiver took it (any 2xx), else what went wrong."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(body, headers)
        except TimeoutError:
            return f"no answer within {self._timeout_seconds:g} s"
        except (AddressRefusedError, httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> str | None:
        answer = await post_pinned(self._client, self._url, body, headers, allow_private=self._allow_private)
        return None if answer.is_success else f"status {answer.status_code}"


async def post_pinned(
    client: httpx.AsyncClient, url: httpx.URL, body: bytes, headers: Mapping[str, str], *, allow_private: bool
) -> httpx.Response:
    """POST to the address that was checked; the answer's body is not kept. `client` is used for this origin alone.

    Raises: AddressRefusedError, and what httpx raises.
    """
    port = url.port or (443 if url.scheme == "https" else 80)
    address = await resolve(url.host, port, allow_private=allow_private)
    request = client.build_request(
        "POST",
        url.copy_with(host=_url_host(address)),
        content=body,
        headers={"User-Agent": USER_AGENT, **headers, "Host": url.netloc.decode()},
        extensions={"sni_hostname": url.host},
    )
    answer = await client.send(request, stream=True)
    with contextlib.suppress(httpx.HTTPError):
        async with contextlib.aclosing(answer):
            await _read_some(answer)
    return answer


async def _read_some(answer: httpx.Response) -> None:
    """Read to the end, so that the connection can be used again, unless the end is far."""
    size = 0
    async for chunk in answer.aiter_raw():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            return


def _url_host(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
