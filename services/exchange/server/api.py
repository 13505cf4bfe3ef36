"""What every REST endpoint goes through: faults, parsing, authentication, permission, rate limit, envelope."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.exchange.core import ExchangeCore
from services.exchange.server.auth import Credential, SignedRequest, authenticate_request
from services.exchange.server.errors import (
    INTERNAL_ERROR,
    PARAMETER_ERROR,
    PARAMETER_ILLEGAL,
    TRY_AGAIN_LATER,
    URL_PATH,
    ApiError,
    as_switched,
    status_of,
)
from services.exchange.server.faults import Fault, FaultTable
from services.exchange.server.ratelimits import Group, RateLimiter
from services.exchange.server.venue import JournalFailed, Venue
from services.exchange.server.wire import Fields, encode, failure, parse_json_object, parse_pairs, success
from shared.http_refusals import HttpRefusals
from shared.logging import get_logger

NS_PER_MS = 1_000_000
FROZEN_MAX = 2_000
Access = Literal["public", "read", "trade", "market_maker", "rfq_quotes", "mmp"]
Body = Literal["json", "ids", "form"]

log = get_logger("exchange.api")


class Raw(msgspec.Struct, frozen=True):
    """Fields beside `data` in the envelope, or a rendering that was kept: the whole body, ready to send."""

    body: bytes


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request as a handler sees it. `credential` is None on public endpoints without a valid signature."""

    venue: Venue
    credential: Credential | None
    fields: Fields
    body: Mapping[str, Any]
    path_params: Mapping[str, str]
    now_ns: int
    dealers_silent: bool = False
    dealers_late_ms: int = 0

    @property
    def core(self) -> ExchangeCore:
        return self.venue.core

    @property
    def now_ms(self) -> int:
        return self.now_ns // NS_PER_MS

    @property
    def signer(self) -> Credential:
        assert self.credential is not None, "the endpoint is signed"
        return self.credential

    @property
    def account_id(self) -> str:
        return self.signer.account_id


Handler = Callable[[Call], Any]


class Endpoint(msgspec.Struct, frozen=True):
    """A row of the endpoint table. `handler` returns the envelope's `data`, or `Raw`.

    `body` of a POST: "json", "form", or what the configuration says for calls that carry only ids.
    """

    method: Literal["GET", "POST"]
    path: str
    access: Access
    group: Group
    handler: Handler
    body: Body = "json"


def json_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/json")


class ConnectionClosed(Response):
    """No answer at all: the connection is cut, what was executed stays executed."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        transport = scope.get("extensions", {}).get("transport")
        if transport is None:
            raise RuntimeError("the server does not expose its transport")
        transport.abort()


class Api:
    """Turns endpoint rows into Starlette routes."""

    def __init__(
        self,
        venue: Venue,
        keys: Mapping[str, Credential],
        limiter: RateLimiter,
        faults: FaultTable,
        refusals: HttpRefusals,
        body_bytes_max: int,
    ) -> None:
        self._venue = venue
        self._switches = venue.config.switches
        self._keys = keys
        self._limiter = limiter
        self._faults = faults
        self._refusals = refusals
        self._body_bytes_max = body_bytes_max
        self.answered: Counter[tuple[str, str]] = Counter()
        """Requests by (path of the table, outcome); see `_answer`."""

    def route(self, endpoint: Endpoint) -> Route:
        async def answer(request: Request) -> Response:
            return await self._answer(endpoint, request)

        return Route(endpoint.path, answer, methods=[endpoint.method])

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        lost, outcome = False, "ok"
        dealers: dict[str, Any] = {}
        try:
            body = await read_body(request, self._body_bytes_max)
            for fault in self._faults.hit_request(request.url.path, self._venue.now_ns()):
                if fault.kind == "latency":
                    await asyncio.sleep(fault.latency_ms / 1_000)
                elif fault.kind == "lost_answer":
                    lost = True
                elif fault.kind == "no_quotes":
                    dealers["dealers_silent"] = True
                elif fault.kind == "late_quotes":
                    dealers["dealers_late_ms"] = fault.latency_ms
                else:
                    self.answered[endpoint.path, "fault"] += 1
                    return refusal_of(fault)
            answer = json_response(self._execute_unless_frozen(endpoint, request, body, dealers))
        except ApiError as error:
            outcome = "refused"
            answer = json_response(failure(as_switched(error, self._switches)), self._status_of(error))
        except JournalFailed:
            outcome = "failed"
            answer = json_response(failure(ApiError(INTERNAL_ERROR)), 500)
        except ClientDisconnect:
            self._refusals.add("cut")
            outcome, answer = "cut", ConnectionClosed()
        except Exception:
            outcome = "failed"
            log.exception("endpoint failed", path=request.url.path)
            answer = json_response(failure(ApiError(INTERNAL_ERROR)), 500)
        self.answered[endpoint.path, "lost" if lost else outcome] += 1
        return ConnectionClosed() if lost else answer

    def _status_of(self, error: ApiError) -> int:
        if error.code == TRY_AGAIN_LATER and self._switches.rate_limit_answer == "http_429":
            return 429
        if self._switches.failure_status == "http_4xx" and error.code != TRY_AGAIN_LATER:
            return status_of(error)
        return 404 if error.code == URL_PATH else 200

    def _execute_unless_frozen(
        self, endpoint: Endpoint, request: Request, body: bytes, dealers: Mapping[str, Any]
    ) -> bytes:
        is_price = endpoint.access == "public" and endpoint.path.startswith("/open/option/")
        if not (is_price and self._faults.freezes(request.url.path, self._venue.now_ns())):
            return self._execute(endpoint, request, body, dealers)
        asked = f"{request.url.path}?{request.url.query}"
        answer = self._faults.frozen.get(asked)
        if answer is None:
            answer = self._execute(endpoint, request, body, dealers)
            if len(self._faults.frozen) < FROZEN_MAX:
                self._faults.frozen[asked] = answer
        return answer

    def _execute(self, endpoint: Endpoint, request: Request, body: bytes, dealers: Mapping[str, Any]) -> bytes:
        query = request.scope["query_string"].decode("latin-1")
        is_form = "x-www-form-urlencoded" in request.headers.get("content-type", "")
        body_fields: dict[str, Any] = (
            parse_pairs(body.decode("utf-8", "replace"), form=True) if is_form else parse_json_object(body)
        )
        query_fields = parse_pairs(query, form=False)
        signed = SignedRequest(
            method=request.method,
            path=request.scope["raw_path"].decode("latin-1").partition("?")[0],
            query=query,
            query_fields=query_fields,
            body_fields=body_fields,
        )
        now_ns = self._venue.now_ns()
        credential = self._authenticate(endpoint, request, signed, now_ns)
        client = request.client.host if request.client else ""
        subject = client
        if credential is not None:
            by_key = self._switches.rate_limit_scope == "key"
            subject = credential.api_key if by_key else str(credential.user_id)
        if not self._limiter.allow(endpoint.group, subject, now_ns):
            raise ApiError(TRY_AGAIN_LATER)
        if body_fields and not self._takes(endpoint, is_form=is_form):
            raise ApiError(PARAMETER_ILLEGAL)
        call = Call(
            venue=self._venue,
            credential=credential,
            fields=Fields({**query_fields, **body_fields}),
            body=body_fields,
            path_params=request.path_params,
            now_ns=now_ns,
            **dealers,
        )
        data = endpoint.handler(call)
        return data.body if isinstance(data, Raw) else success(data)

    def _takes(self, endpoint: Endpoint, *, is_form: bool) -> bool:
        """Whether the endpoint takes a body of this content type."""
        match endpoint.body:
            case "json":
                return not is_form
            case "ids":
                return self._switches.rfq_body in ("both", "form" if is_form else "json")
            case "form":
                return True

    def _authenticate(
        self, endpoint: Endpoint, request: Request, signed: SignedRequest, now_ns: int
    ) -> Credential | None:
        if endpoint.access == "public" and "x-cc-apikey" not in request.headers:
            return None
        try:
            credential = authenticate_request(
                self._keys, request.headers, signed, now_ns // NS_PER_MS, self._switches
            )
        except ApiError:
            if endpoint.access == "public":
                return None
            raise
        changes = endpoint.access in ("trade", "market_maker") or endpoint.method == "POST"
        if changes and endpoint.access != "public" and credential.read_only:
            raise ApiError(self._switches.permission_code)
        if endpoint.access == "mmp" and not (credential.mmp or credential.market_maker):
            raise ApiError(self._switches.permission_code, text="not.allow")
        lacks = endpoint.access == "market_maker" and not credential.market_maker
        if lacks or (endpoint.access == "rfq_quotes" and not credential.rfq_quotes):
            unknown = self._switches.missing_right == "http_404"
            raise ApiError(URL_PATH if unknown else self._switches.permission_code)
        return credential


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The body; a GET has none. Raises ApiError for a larger one, ClientDisconnect when it does not all come."""
    if request.method == "GET":
        return b""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise ApiError(PARAMETER_ERROR, text=f"Parameter error: the body exceeds {bytes_max} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def refusal_of(fault: Fault) -> Response:
    """The answer of a fault that refuses: nothing was executed."""
    match fault.kind:
        case "http_500":
            return json_response(failure(ApiError(INTERNAL_ERROR)), 500)
        case "rate_limit":
            return json_response(failure(ApiError(TRY_AGAIN_LATER)))
        case _:
            return json_response(encode({"code": fault.code, "msg": fault.message, "i18nArgs": None, "data": None}))
