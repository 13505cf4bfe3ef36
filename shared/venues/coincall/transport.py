"""HTTP over aiohttp behind httpx's transport interface.

httpx's own connection pool costs several times the CPU per request and slows down with many requests in flight; the
published aiohttp transport reports a connection that broke *after* the request had left as a failure to connect,
which for an order is the difference between "unknown" and "not sent". bench/http_client.py has the figures.
"""

from __future__ import annotations

import aiohttp
import httpx
from yarl import URL

_KEEPALIVE_S = 20.0


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Keeps connections alive and pools them. The body of the response is read before it is returned.

    Raises httpx.ConnectError, ConnectTimeout or PoolTimeout only when nothing was sent; ReadTimeout, ReadError and
    RemoteProtocolError when the request may have been received. Redirects are not followed. No POST is repeated; a
    GET is, once, when a kept connection turns out to be dead.
    Usable as `httpx.AsyncClient(transport=...)` and, cheaper, by handing it requests directly.
    """

    def __init__(self, max_connections: int = 64) -> None:
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            self._session = self._open_session()
        limits = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(connect=limits.get("connect"), sock_read=limits.get("read"))
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        body = await request.aread()
        try:
            async with self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=headers,
                data=body or None,
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            kind = httpx.ConnectTimeout if isinstance(error, TimeoutError) else httpx.ConnectError
            raise kind(str(error), request=request) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except aiohttp.ClientPayloadError as error:
            raise httpx.ReadError(str(error), request=request) from error
        except (aiohttp.ClientError, OSError) as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        return httpx.Response(answer.status, headers=answer.raw_headers, content=content, request=request)

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
