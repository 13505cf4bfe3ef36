"""HTTP requests that no client of ours makes, from a seed, and a client that sends any bytes and reads any answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")
ANSWER_S = 30.0
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    1,
    -1,
    2,
    (1 << 63) - 1,
    1 << 63,
    -(1 << 64),
    10**30,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "1",
    "-1",
    "1e999999",
    "-1e-999999",
    "NaN",
    "sNaN",
    "Infinity",
    "1_000",
    " 1 ",
    "\u0661",
    "\ud800",
    "\0",
    "é\u202e\U0001f4a3",
    "9" * 5_000,
    "x" * 20_000,
    "BTCUSD",
    "BTC",
    "GTC",
    "'; drop table orders; --",
    [],
    {},
    [1, "2", None],
    [[[[[]]]]],
    {"symbol": {"symbol": "BTCUSD"}},
    [{}] * 41,
    [{"orderId": -1}, {"symbol": 3, "qty": "x"}],
)
FIELDS = (
    "symbol",
    "qty",
    "price",
    "tradeSide",
    "tradeType",
    "clientOrderId",
    "orderId",
    "orderIdList",
    "clientOrderIdList",
    "orders",
    "timeInForce",
    "reduceOnly",
    "stp",
    "mmp",
    "slippage",
    "currency",
    "page",
    "pageSize",
    "fromId",
    "startTime",
    "endTime",
    "type",
    "index",
    "base",
    "pct",
    "minutes",
    "account_id",
    "amount_usd",
    "kind",
    "path_prefix",
    "duration_ms",
    "latency_ms",
    "count",
    "nobody_knows",
)
QUERY_VALUES = (
    "",
    "0",
    "-1",
    "1",
    "1e99",
    "NaN",
    "9" * 400,
    "%",
    "%zz",
    "%00",
    "%ff%fe",
    "a&b",
    "%2e%2e/",
    "+",
    "BTCUSD",
)
CONTENT_TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data; boundary=",
    "application/msgpack",
    "x" * 300,
    "",
)


class HttpAnswer(NamedTuple):
    """Status and body; status 0: the connection was closed without an answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Sign = Callable[[str, str, str], dict[str, str]]
"""Headers that sign a request, from its method, path and the text of its fields."""


class HttpForger:
    """Hostile requests to routes of (method, path), from one seed. `sign` signs some of them well, so that they reach
    the handlers."""

    def __init__(self, seed: int, routes: list[tuple[str, str]], sign: Sign | None = None) -> None:
        self._draw = random.Random(seed)
        self._paths = {method: [path for each, path in routes if each == method] for method, _ in routes}
        self._sign = sign

    def requests(self, count: int) -> Iterator[bytes]:
        """`count` whole requests, every kind in turn: each must be answered, or its connection closed."""
        kinds = (
            self._json_body,
            self._json_body,
            self._query,
            self._query,
            self._method,
            self._broken_json,
            self._header_games,
            self._strange_path,
            self._content_type,
            self._bad_chunks,
            self._noise,
            self._wrongly_signed,
        )
        for number in range(count):
            yield kinds[number % len(kinds)]()

    def _path(self, method: str = "") -> str:
        """Of a route with this method, if there is one."""
        paths = self._paths.get(method) or self._paths[self._draw.choice(sorted(self._paths))]
        path = self._draw.choice(paths)
        for name in ("base", "index", "symbol"):
            value = self._draw.choice(
                ["BTC", "BTCUSD", "btcusd", "nobody", "%00", "%ff", "x" * 500, "%2e%2e", "é".encode().hex()]
            )
            path = path.replace(f"{{{name}}}", value)
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + self._draw.choice(["t1", "nobody", "%00", "x" * 500, "%2e%2e"]) + rest.partition("}")[2]
        return path

    def _fields(self) -> dict[str, Any]:
        return {self._draw.choice(FIELDS): self._draw.choice(VALUES) for _ in range(self._draw.randint(1, 9))}

    def _json_body(self) -> bytes:
        fields = self._fields()
        if self._draw.random() < 0.5:
            fields |= {"symbol": "BTCUSD", "tradeSide": 1, "tradeType": 1}
            fields[self._draw.choice(FIELDS)] = self._draw.choice(VALUES)
        return self._request("POST", self._path("POST"), json.dumps(fields).encode(), signed=_signable(fields))

    def _query(self) -> bytes:
        pairs = [
            f"{self._draw.choice(FIELDS)}={self._draw.choice(QUERY_VALUES)}" for _ in range(self._draw.randint(0, 6))
        ]
        text = "&".join(pairs)
        return self._request("GET", f"{self._path('GET')}?{text}", signed=text)

    def _method(self) -> bytes:
        return self._request(self._draw.choice(METHODS), self._path(), b"{}")

    def _broken_json(self) -> bytes:
        body = self._draw.choice(
            [
                b"{",
                b"[" * 100_000,
                b'{"a":' * 50_000,
                b"\xff\xfe",
                b'"text"',
                b"[1]",
                b"NaN",
                b'{"symbol": NaN}',
                b'{"symbol": "\\ud800"}',
                b'{"\\udfff": 1}',
                b'{"a":1,"a":2}',
                b"1" * 10_000,
                b"{}" * 3,
                b"\0" * 100,
                b'{"qty": 1e999999999}',
                b'{"qty": ' + b"9" * 10_000 + b"}",
                b" " * 300_000,
                b'{"x": "' + b"y" * 1_000_000 + b'"}',
            ]
        )
        return self._request("POST", self._path("POST"), body, signed="")

    def _header_games(self) -> bytes:
        name = self._draw.choice(
            [
                "X-CC-APIKEY",
                "sign",
                "ts",
                "X-REQ-TS-DIFF",
                "Content-Length",
                "Transfer-Encoding",
                "Expect",
                "Upgrade",
                "Connection",
                "Host",
                "Accept",
                "Accept-Encoding",
                "Cookie",
                "Range",
                "X-" + "h" * 200,
            ],
        )
        value = self._draw.choice(
            [
                "",
                "-1",
                "99999999999999999999",
                "chunked",
                "100-continue",
                "websocket",
                "é",
                "\x01",
                "a" * 9_000,
                "*/*;q=x",
                "application/openmetrics-text; version=x.y.z",
                "bytes=0-",
                ", ,",
                "1, 2",
            ]
        )
        return self._request(self._draw.choice(("GET", "POST")), self._path(), b"{}", headers={name: value})

    def _strange_path(self) -> bytes:
        path = self._draw.choice(
            [
                "/%",
                "/%zz",
                "/%c0%af",
                "//",
                "/../../etc/passwd",
                "/" + "x" * 30_000,
                "/\xe9",
                "*",
                "http://other/",
                "/?",
                "/#",
                "/open/option/detail/v1/%ed%a0%80",
                "/open/option/detail/v1/" + "%41" * 3_000,
                "/open//time",
            ]
        )
        return self._request("GET", path)

    def _content_type(self) -> bytes:
        kind = self._draw.choice(CONTENT_TYPES)
        body = self._draw.choice([b"a=1&a=2&=&&%zz=%", b"{}", b"\x81\xa1a\x01", b"&" * 50_000, b"--\r\n\r\n"])
        return self._request("POST", self._path("POST"), body, headers={"Content-Type": kind})

    def _bad_chunks(self) -> bytes:
        body = self._draw.choice(
            [b"zz\r\n", b"-1\r\n\r\n", b"ffffffffffffffff\r\nx", b"5\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n"]
        )
        head = f"POST {self._path('POST')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head.encode("latin-1") + body

    def _noise(self) -> bytes:
        return self._draw.choice(
            [
                self._draw.randbytes(100),
                b"\r\n\r\n",
                b"GET /time\r\n\r\n",
                b"GET /time HTTP/9.9\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"GET /time HTTP/1.1\r\n" + b"a: b\r\n" * 5_000 + b"\r\n",
                b"GET /time HTTP/1.1\r\nno colon here\r\n\r\n",
                b"GET /time HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            ]
        )

    def _wrongly_signed(self) -> bytes:
        headers = {
            "X-CC-APIKEY": self._draw.choice(["nobody", "", "é", "a" * 5_000]),
            "sign": self._draw.choice(["", "00", "é" * 64, "A" * 64]),
            "ts": self._draw.choice(
                ["", "x", "-1", "9" * 16, "9" * 5_000, "\u0661".encode().decode("latin-1"), "1.5"]
            ),
        }
        return self._request(self._draw.choice(("GET", "POST")), self._path(), b"{}", headers=headers)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        signed: str | None = None,
    ) -> bytes:
        fields = {"Host": "127.0.0.1", "Connection": "close", "Content-Length": str(len(body))}
        if self._sign is not None and signed is not None:
            fields |= self._sign(method, path.partition("?")[0], signed)
        fields |= headers or {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def _signable(fields: dict[str, Any]) -> str:
    """The text of flat fields as the venue signs it; where it does not fit, the request is signed wrongly."""
    read = json.loads(json.dumps(fields), parse_float=str, parse_int=str)
    pairs = []
    for name, value in sorted(read.items()):
        if value is not None:
            flat = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
            text = json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else flat or str(value)
            pairs.append(f"{name}={text}")
    return "&".join(pairs)


async def exchange(port: int, data: bytes) -> HttpAnswer:
    """Send the bytes on a connection of their own and read one answer. A server that waits for more is told soon
    that there is none, and closes. Raises TimeoutError when it does neither."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(_read(reader))
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(data)
            await asyncio.wait({answer}, timeout=0.3)
            if not answer.done():
                writer.write_eof()
            return await answer
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        return HttpAnswer(0, b"")
    finally:
        answer.cancel()
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> HttpAnswer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        # closed without an answer, or one to HTTP of the last century, which has no head
        return HttpAnswer(0, b"")
    if not head.startswith(b"HTTP/1."):
        return HttpAnswer(0, b"")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), -1)
    try:
        body = await (reader.read(-1) if length < 0 else reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        body = error.partial
    return HttpAnswer(int(head.split(b" ", 2)[1]), body)
