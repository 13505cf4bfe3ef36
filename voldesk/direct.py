"""Flatten an account from the venue alone: cancel every order, then close every position, in rounds.

Needs the configuration and execution's key; no other process of the desk has to live. Each step is written to an
audit file before it is taken. Coins of spot are no position, and which of them a trade bought the venue does not
tell: they stay, and execution sells those of its trades when it is back under the halt that is left for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from shared.clock import Clock
from shared.config import DeskConfig
from shared.flatten_record import record_path
from shared.ids import MAX_LEGS, OrderKey, client_order_id, next_trade_number
from shared.latch import write_latch
from shared.messages.control import FLATTEN_DIRECT, FlattenLatch
from shared.messages.market import Instrument
from shared.messages.venue import NewOrder, OrderAcked, OrderRefused, VenuePosition
from shared.options.book import unpack_levels
from shared.options.chain import snap_price
from shared.options.instruments import base_of, instrument_kind, underlying_of
from shared.options.symbols import SymbolError, parse_option_symbol
from shared.secrets import load_api_key
from shared.venues.coincall import CoincallEndpoints, EveryProduct, of_venue
from shared.venues.coincall.errors import COUNTDOWN_FIRED
from shared.venues.ports import MarketGateway, OptionQuoteRow, OrderGateway, VenueError
from shared.views import iso, plain
from voldesk.asking import operator
from voldesk.console import EXIT_UNREACHABLE, Failure
from voldesk.preflight import read_ports

Tell = Callable[[str], None]
_FUTURE = "future"
_ROUND_PAUSE_S = 1.0
_WIDENING_ROUNDS = 4
_MIN_TICKS = 2
_SLICES_MAX = 20
_FUTURES_BOUND_MAX_PCT = 2.0
"""A share of mark that is small for an option is large for a coin, and past what the venue takes."""


class DirectBounds(msgspec.Struct, frozen=True, kw_only=True):
    """bound_pct: the furthest an order may go past mark. patience_s: how long rounds are repeated."""

    bound_pct: float
    patience_s: float


class ClosingQuote(msgspec.Struct, frozen=True, kw_only=True):
    """What pricing a closing order needs. Prices in USD per unit, None when the venue has none."""

    bid: float | None
    ask: float | None
    mark: float | None
    tick_size: Decimal


class DirectGateway(OrderGateway, MarketGateway, Protocol):
    """Orders and market of one account."""

    async def future(self, symbol: str) -> Instrument: ...


def closing_price(quantity: Decimal, quote: ClosingQuote, attempt: int, bound_pct: float) -> Decimal | None:
    """The limit of an order that closes `quantity` (signed); None when there is nothing to price it with.

    The first attempt (0) is at mark. Those after it go past mark by a share of the bound that grows up to all of it,
    and by 2 ticks at least: whatever the book holds, none takes a price further away than its reach. Without a mark
    the other side's best price stands for it. An option is sold for one tick at least.
    """
    selling = quantity > 0
    mark = quote.mark if quote.mark is not None else (quote.bid if selling else quote.ask)
    if mark is None:
        return None
    share = min(1.0, attempt / _WIDENING_ROUNDS) * bound_pct / 100
    reach = max(mark * share, _MIN_TICKS * float(quote.tick_size)) if attempt > 0 else 0.0
    if selling:
        return max(snap_price(mark - reach, quote.tick_size, up=True), quote.tick_size)
    return max(snap_price(mark + reach, quote.tick_size, up=False), quote.tick_size)


def held_back(positions: Sequence[VenuePosition]) -> frozenset[str]:
    """Positions that still cover another one of the same underlying: closed first, or at once when the other one did
    not fill, they would leave it naked in a market that runs.

    Long options cover short ones of their type, calls a future sold, puts one bought. A future covers short options:
    calls where it is bought, puts where it is sold.
    """
    held = {(*kind, p.quantity < 0) for p in positions if (kind := _kind_of(p.symbol)) is not None}
    return frozenset(p.symbol for p in positions if not held.isdisjoint(_covered_by(p)))


def _covered_by(position: VenuePosition) -> Iterator[tuple[str, str, bool]]:
    """Base, kind and whether it is sold, of what a position covers."""
    base, kind = _kind_of(position.symbol) or ("", "")
    if kind == _FUTURE:
        yield base, "C" if position.quantity > 0 else "P", True
    elif kind and position.quantity > 0:
        yield base, kind, True
        yield base, _FUTURE, kind == "C"


def _kind_of(symbol: str) -> tuple[str, str] | None:
    """Base and type of an option, base and _FUTURE of a perpetual or dated future; None for anything else."""
    if instrument_kind(symbol) in ("perpetual", "future"):
        return base_of(symbol), _FUTURE
    try:
        option = parse_option_symbol(symbol)
    except SymbolError:
        return None
    return option.base, option.option_type


def slices(quantity: Decimal, instrument: Instrument) -> list[Decimal]:
    """The quantities (> 0) of the orders that close `quantity` (signed) in one round, none above what the venue takes
    in one order. What more than `_SLICES_MAX` orders cannot close is left to the next round."""
    left = abs(quantity)
    if instrument.max_quantity <= 0:
        return [left]
    found: list[Decimal] = []
    while left > 0 and len(found) < _SLICES_MAX:
        found.append(min(left, instrument.max_quantity))
        left -= found[-1]
    return found


class Audit:
    """JSON lines, on disk before the step they announce. What a full disk cannot take is told instead."""

    def __init__(self, path: Path, clock: Clock, tell: Tell) -> None:
        self.path = path
        self._clock = clock
        self._tell = tell
        self._descriptor: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            tell(f"  no audit file at {path} ({error.strerror}): what is done is told here instead")

    def write(self, step: str, **fields: Any) -> None:
        now_ns = self._clock.now_ns()
        line = json.dumps({"at": iso(now_ns), "at_ns": now_ns, "step": step, **fields})
        try:
            if self._descriptor is None:
                raise OSError("there is no audit file")
            os.write(self._descriptor, line.encode() + b"\n")
            os.fsync(self._descriptor)
        except OSError:
            self._tell(f"  not in the audit file: {line}")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


async def flatten_from_venue(desk: DeskConfig, bounds: DirectBounds, reason: str, tell: Tell) -> dict[str, Any]:
    """Cancel and close until nothing is left, having left a halt for execution to find first.

    Raises Failure when it is not flat in time, or the venue is away; the halt stays.
    """
    clock = Clock()
    gateway = EveryProduct(venue_endpoints(desk), load_api_key(desk, "execution"))
    gateway.limited_to(futures=desk.futures, pairs=desk.spot_pairs)
    audit = Audit(record_path(desk.run_dir), clock, tell)
    latch = FlattenLatch(latch_id=f"flatten-direct-{clock.now_ns()}", raised_by=FLATTEN_DIRECT, reason=reason)
    try:
        audit.write("latched", path=str(write_latch(desk.run_dir, latch)))
    except OSError as error:
        # To close is worth more than to remember it, and only a person can keep execution from going on.
        tell(f"  the halt for execution could not be left in {desk.run_dir} ({error.strerror}): stop execution")
        tell("  (voldesk down), or halt it (voldesk halt) before it opens anything")
        audit.write("not_latched", reason=str(error))
    audit.write("begin", run_id=latch.latch_id, by=FLATTEN_DIRECT, operator=operator(), reason=reason)
    try:
        await gateway.start()
        return await DirectFlatten(gateway, desk, bounds, audit, clock, tell).run()
    except VenueError as error:
        raise Failure(
            f"the venue cannot be used: {error}", "check network and key, then repeat", EXIT_UNREACHABLE
        ) from None
    finally:
        audit.close()
        await gateway.close()


def venue_endpoints(desk: DeskConfig) -> CoincallEndpoints:
    """Where the configured venue answers. Raises Failure when the simulated one was never started."""

    def simulated_port() -> int:
        port = read_ports(desk.run_dir).get("exchange")
        if port is None:
            raise Failure(
                "the simulated exchange was never started", "start the desk with `voldesk up`", EXIT_UNREACHABLE
            )
        return port

    return of_venue(desk.venue, simulated_port, desk.host.exchange)


class DirectFlatten:
    """One run. The order ids name this desk and a trade number of now, so that execution can tell them from its own
    trades when it comes back."""

    def __init__(
        self, gateway: DirectGateway, desk: DeskConfig, bounds: DirectBounds, audit: Audit, clock: Clock, tell: Tell
    ) -> None:
        self._gateway = gateway
        self._desk = desk
        self._bounds = bounds
        self._audit = audit
        self._clock = clock
        self._tell = tell
        self._first_trade_number = next_trade_number(None, clock.now_ns())
        self._places: dict[str, int] = {}
        self._attempts: dict[str, int] = {}
        self._priced: dict[str, int] = {}
        """How often each position was priced: the reach of its orders grows with that."""
        self._instruments: dict[str, Instrument] = {}
        self._orders_sent = 0

    async def run(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._bounds.patience_s
        attempt = 0
        reason = ""
        while True:
            try:
                await self._cancel_everything()
                positions = await self._open_positions()
                orders = await self._gateway.open_orders()
                if not positions and not orders:
                    self._audit.write("flat", rounds=attempt, orders_sent=self._orders_sent)
                    return {
                        "flat": True,
                        "rounds": attempt,
                        "orders_sent": self._orders_sent,
                        "audit": str(self._audit.path),
                    }
                reason = f"{len(positions)} positions and {len(orders)} orders left"
                self._tell(f"  round {attempt + 1}: {reason}")
                if not orders:
                    await self._close_all(positions)
                    attempt += 1
            except VenueError as error:
                if error.kind == "auth":
                    raise
                reason = str(error)
                self._tell(f"  {error}")
            if time.monotonic() > deadline:
                self._audit.write("gave_up", reason=reason)
                raise Failure(
                    f"not flat after {self._bounds.patience_s:.0f} s: {reason}",
                    f"repeat, with a larger --bound-pct if prices are the reason; see {self._audit.path}",
                )
            await asyncio.sleep(_ROUND_PAUSE_S)

    async def _cancel_everything(self) -> None:
        orders = await self._gateway.open_orders()
        underlyings = {*self._desk.underlyings, *(underlying_of(order.symbol) for order in orders)}
        for underlying in sorted(underlyings):
            self._audit.write("cancel_all", underlying=underlying)
            outcome = await self._gateway.cancel_all(underlying)
            self._audit.write("cancel_all_answer", underlying=underlying, outcome=type(outcome).__name__)

    async def _open_positions(self) -> list[VenuePosition]:
        return [position for position in await self._gateway.positions() if position.quantity != 0]

    async def _close_all(self, positions: Sequence[VenuePosition]) -> None:
        """Short positions first; what covers another position waits for a round in which that is gone."""
        quotes = await self._quotes(positions)
        waiting = held_back(positions)
        for symbol in sorted(waiting):
            self._tell(f"  {symbol}: covers another position, closed once that is gone")
        for position in sorted(positions, key=lambda row: (row.quantity > 0, row.symbol)):
            if position.symbol in waiting:
                continue
            quote = quotes.get(position.symbol)
            attempt = self._priced.get(position.symbol, 0)
            bound_pct = self._bounds.bound_pct
            if instrument_kind(position.symbol) != "option":
                bound_pct = min(bound_pct, _FUTURES_BOUND_MAX_PCT)
            price = None if quote is None else closing_price(position.quantity, quote, attempt, bound_pct)
            if quote is None or price is None:
                self._audit.write("unpriced", symbol=position.symbol, quantity=plain(position.quantity))
                self._tell(f"  {position.symbol}: neither mark nor book, tried again in the next round")
                continue
            self._priced[position.symbol] = attempt + 1
            for quantity in slices(position.quantity, self._instruments[position.symbol]):
                await self._close(position, quantity, price, mark=quote.mark, round_number=attempt + 1)

    async def _close(
        self, position: VenuePosition, quantity: Decimal, price: Decimal, *, mark: float | None, round_number: int
    ) -> None:
        place = self._places.setdefault(position.symbol, len(self._places))
        attempt = self._attempts.get(position.symbol, 0)
        self._attempts[position.symbol] = attempt + 1
        order = NewOrder(
            client_order_id=client_order_id(
                OrderKey(
                    desk=self._desk.number,
                    trade_number=self._first_trade_number + place // MAX_LEGS,
                    leg_index=place % MAX_LEGS,
                    purpose="flatten",
                    attempt=attempt,
                )
            ),
            symbol=position.symbol,
            side="sell" if position.quantity > 0 else "buy",
            quantity=quantity,
            price=price,
            time_in_force="IOC",
            reduce_only=True,
        )
        self._audit.write(
            "close",
            symbol=order.symbol,
            side=order.side,
            quantity=plain(order.quantity),
            price=plain(order.price),
            mark=mark,
            round=round_number,
            client_order_id=str(order.client_order_id),
        )
        outcome = await self._gateway.place(order)
        if isinstance(outcome, OrderRefused) and outcome.code == COUNTDOWN_FIRED:
            # Execution armed it and died: no order is taken until it is disarmed, closes neither.
            underlying = underlying_of(position.symbol)
            self._audit.write("disarm_countdown", underlying=underlying)
            await self._gateway.set_countdown(underlying, 0)
        self._orders_sent += isinstance(outcome, OrderAcked)
        text = getattr(outcome, "text", getattr(outcome, "reason", "accepted"))
        named = {"venue_order_id": str(outcome.venue_order_id)} if isinstance(outcome, OrderAcked) else {}
        self._audit.write(
            "close_answer",
            client_order_id=str(order.client_order_id),
            outcome=type(outcome).__name__,
            text=text,
            **named,
        )
        self._tell(f"  {order.side} {plain(order.quantity)} {order.symbol} at {plain(price)}: {text}")

    async def _quotes(self, positions: Sequence[VenuePosition]) -> Mapping[str, ClosingQuote]:
        """Books and marks of the positions' expiries; a mark of the position itself stands in for a missing one. What
        cannot be read of one position keeps no other from being closed."""
        rows: dict[str, OptionQuoteRow] = {}
        expiries = sorted(_expiries(positions))
        for underlying, expiry_ns in expiries:
            with self._unread(f"the chain of {underlying}"):
                push = await self._gateway.chain(underlying, expiry_ns)
                rows |= {row.symbol: row for row in push.rows}
        for underlying in sorted({underlying for underlying, _ in expiries} - self._listed()):
            with self._unread(f"the options of {underlying}"):
                listed = await self._gateway.instruments(underlying)
                self._instruments |= {instrument.symbol: instrument for instrument in listed}
        quotes = {}
        for position in positions:
            if instrument_kind(position.symbol) in ("perpetual", "future"):
                with self._unread(position.symbol):
                    quotes[position.symbol] = await self._quote_of_future(position)
                continue
            instrument = self._instruments.get(position.symbol)
            row = rows.get(position.symbol)
            if instrument is None:
                continue
            quotes[position.symbol] = ClosingQuote(
                bid=_known(row.bid if row else None),
                ask=_known(row.ask if row else None),
                mark=_known(row.mark if row else None) or position.mark,
                tick_size=instrument.tick_size,
            )
        return quotes

    @contextlib.contextmanager
    def _unread(self, what: str) -> Iterator[None]:
        """Go on without what the venue does not show. A key that it refuses is refused everywhere."""
        try:
            yield
        except VenueError as error:
            if error.kind == "auth":
                raise
            self._audit.write("unread", what=what, reason=str(error))
            self._tell(f"  {what}: {error}")

    async def _quote_of_future(self, position: VenuePosition) -> ClosingQuote:
        instrument = self._instruments.get(position.symbol)
        if instrument is None:
            instrument = self._instruments[position.symbol] = await self._gateway.future(position.symbol)
        book = await self._gateway.order_book(position.symbol)
        bids, asks = unpack_levels(book.bids), unpack_levels(book.asks)
        return ClosingQuote(
            bid=float(bids[0, 0]) if bids.size else None,
            ask=float(asks[0, 0]) if asks.size else None,
            mark=_known(position.mark),
            tick_size=instrument.tick_size,
        )

    def _listed(self) -> set[str]:
        options = (each for each in self._instruments.values() if instrument_kind(each.symbol) == "option")
        return {instrument.underlying for instrument in options}


def _expiries(positions: Sequence[VenuePosition]) -> set[tuple[str, int]]:
    found = set()
    for position in positions:
        try:
            symbol = parse_option_symbol(position.symbol)
        except SymbolError:
            continue
        found.add((symbol.index, symbol.expiry_ns))
    return found


def _known(value: float | None) -> float | None:
    """NaN and zero are no prices."""
    return value if value is not None and value > 0 else None
