"""One HTTP exchange over aiohttp, and whether a request that failed can have arrived.

For an order that is the difference between "unknown, look for it" and "not sent, may be sent again". Nothing but
aiohttp's session lies between: request and response objects of another client would cost as much as the exchange
itself. bench/http_client.py has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
from yarl import URL

_KEEPALIVE_S = 20.0


class NotConnected(Exception):
    """There was no connection: nothing was sent."""


class ConnectionBroke(Exception):
    """The connection ended before the answer was complete: the request may have been received."""


class HttpTransport:
    """Keeps connections alive and pools them. Redirects are not followed. No POST is repeated; a GET is, once, when a
    kept connection turns out to be dead."""

    def __init__(self, max_connections: int = 64) -> None:
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: URL,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        connect_s: float,
    ) -> tuple[int, bytes]:
        """Status and whole body of the answer. How long that may take is for the caller to bound, with one timer.

        Raises NotConnected when nothing was sent, and ConnectionBroke when the request may have been received.
        """
        if self._session is None:
            self._session = self._open_session()
        timeout = aiohttp.ClientTimeout(connect=connect_s)
        try:
            async with self._session.request(
                method, url, headers=headers, data=body or None, allow_redirects=False, timeout=timeout
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnected(str(error) or type(error).__name__) from error
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionBroke(f"{type(error).__name__} {error}") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
