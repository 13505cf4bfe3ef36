"""The control API: faults, market moves, extra expiries, cash. Loopback and paper trading only; not the venue's."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.exchange.server.api import ConnectionClosed, json_response, read_body
from services.exchange.server.errors import NOT_AUTHORISED, PARAMETER_ERROR, ApiError
from services.exchange.server.faults import Fault, FaultTable
from services.exchange.server.hub import Hub
from services.exchange.server.venue import JournalFailed, Venue
from services.exchange.server.wire import failure, success
from shared.http_refusals import HttpRefusals
from shared.messages.figures import check_of

NS_PER_MINUTE = 60_000_000_000
BODY_BYTES_MAX = 65_536
FAULTS_MAX = 100


class MoveIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Multiply the index of `base` by 1 + pct / 100 from the next step on."""

    base: str
    pct: Annotated[float, msgspec.Meta(ge=-90, le=900)]


class MoveVol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Multiply the level of volatility of `base` by 1 + pct / 100 from the next step on."""

    base: str
    pct: Annotated[float, msgspec.Meta(ge=-90, le=900)]


class ListExpiry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """List an extra expiry of `base` in so many minutes, on the whole minute and no sooner."""

    base: str
    minutes: Annotated[int, msgspec.Meta(ge=1, le=10_080)]


class TransferCash(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deposit (positive) or withdraw (negative) `amount_usd`."""

    account_id: str
    amount_usd: Decimal


class SimControl:
    """The routes under /sim, for clients on loopback unless `beyond_loopback`."""

    def __init__(
        self,
        venue: Venue,
        hub: Hub,
        faults: FaultTable,
        account_ids: frozenset[str],
        refusals: HttpRefusals,
        *,
        beyond_loopback: bool = False,
    ) -> None:
        self._beyond_loopback = beyond_loopback
        self._venue = venue
        self._hub = hub
        self._faults = faults
        self._account_ids = account_ids
        self._refusals = refusals

    def routes(self) -> list[Route]:
        return [
            Route("/sim/state", self._guarded(self._state), methods=["GET"]),
            Route("/sim/faults", self._guarded(self._add_fault), methods=["POST"]),
            Route("/sim/faults", self._guarded(self._clear_faults), methods=["DELETE"]),
            Route("/sim/market", self._guarded(self._move_index), methods=["POST"]),
            Route("/sim/vol", self._guarded(self._move_vol), methods=["POST"]),
            Route("/sim/expiry", self._guarded(self._list_expiry), methods=["POST"]),
            Route("/sim/transfer", self._guarded(self._transfer), methods=["POST"]),
        ]

    def _guarded(self, handler: Callable[[bytes], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if not self._beyond_loopback and not _is_loopback(request):
                return json_response(failure(ApiError(NOT_AUTHORISED)), 403)
            try:
                return json_response(success(handler(await read_body(request, BODY_BYTES_MAX))))
            except ClientDisconnect:
                self._refusals.add("cut")
                return ConnectionClosed()
            except ApiError as error:
                return json_response(failure(error), 400)
            except JournalFailed as error:
                return json_response(failure(ApiError(500, text=str(error))), 500)

        return answer

    def _state(self, _: bytes) -> Any:
        core = self._venue.core
        now_ns = self._venue.now_ns()
        return {
            "nowNs": now_ns,
            "step": core.step,
            "indices": {base.base: core.index_price(base.base) for base in self._venue.config.bases},
            "volFactors": {base.base: core.vol_factor(base.base) for base in self._venue.config.bases},
            "expiries": {
                base.base: sorted({option.expiry_ns for option in core.instruments(base.base)})
                for base in self._venue.config.bases
            },
            "options": {base.base: len(core.instruments(base.base)) for base in self._venue.config.bases},
            "accounts": {
                account_id: {
                    "equity": core.account_summary(account_id).equity,
                    "openOrders": len(core.open_orders(account_id)),
                    "positions": len(core.positions(account_id)),
                }
                for account_id in sorted(self._account_ids)
            },
            "requestsForQuote": len(core.state.rfq.active),
            "openQuotes": len(core.state.rfq.open_quotes),
            "sockets": len(self._hub.connections),
            "framesPushed": self._hub.frames_pushed,
            "faults": self._faults.active(now_ns),
        }

    def _add_fault(self, body: bytes) -> Any:
        fault = _decode(body, Fault)
        if len(self._faults.active(self._venue.now_ns())) >= FAULTS_MAX:
            raise ApiError(PARAMETER_ERROR, text=f"Parameter error: {FAULTS_MAX} faults are in force: clear them")
        cut = 0
        if fault.kind == "disconnect":
            cut = self._hub.disconnect(fault.path_prefix, "fault")
        if fault.kind != "disconnect" or fault.count is not None or fault.duration_ms is not None:
            self._faults.add(fault, self._venue.now_ns())
        return {"cut": cut, "faults": self._faults.active(self._venue.now_ns())}

    def _clear_faults(self, _: bytes) -> Any:
        self._faults.clear()

    def _move_index(self, body: bytes) -> Any:
        move = _decode(body, MoveIndex)
        return self._venue.execute(lambda core, now_ns: core.move_index(move.base, move.pct, now_ns))

    def _move_vol(self, body: bytes) -> Any:
        move = _decode(body, MoveVol)
        return self._venue.execute(lambda core, now_ns: core.move_vol(move.base, move.pct, now_ns))

    def _list_expiry(self, body: bytes) -> Any:
        wanted = _decode(body, ListExpiry)
        # the next whole minute is the nearest that is no sooner than was asked for
        expiry_ns = (-(-self._venue.now_ns() // NS_PER_MINUTE) + wanted.minutes) * NS_PER_MINUTE
        self._venue.execute(lambda core, now_ns: core.list_expiry(wanted.base, expiry_ns, now_ns))
        return {"base": wanted.base, "endTime": expiry_ns // 1_000_000}

    def _transfer(self, body: bytes) -> Any:
        transfer = _decode(body, TransferCash)
        account_id, amount = transfer.account_id, transfer.amount_usd
        if account_id not in self._account_ids:
            raise ApiError(PARAMETER_ERROR, text="Parameter error: unknown account_id")
        if amount >= 0:
            return self._venue.execute(lambda core, now_ns: core.deposit(account_id, amount, now_ns))
        return self._venue.execute(lambda core, now_ns: core.withdraw(account_id, -amount, now_ns))


def _decode(body: bytes, kind: Any) -> Any:
    check = check_of(kind)
    try:
        value = msgspec.json.decode(body, type=kind)
        if check is not None:
            check(value, "")
        return value
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ApiError(PARAMETER_ERROR, text=f"Parameter error: {error}") from error


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
