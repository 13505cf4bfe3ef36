"""Coincall's structures to our messages. Pure; `ParseError` says which field of which row cannot be used.

Rows about money (orders, fills, positions) must all be readable: one that is not fails the whole answer, because a
position that is left out looks like one that is gone. Rows of a chain stand for themselves: a bad one is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar

import msgspec

from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.venue import (
    VenueAccount,
    VenueExercise,
    VenueFill,
    VenueHolding,
    VenueOrder,
    VenueOrderState,
    VenuePosition,
    VenueTransfer,
)
from shared.options.symbols import OptionSymbol, SymbolError, parse_option_symbol
from shared.venues.coincall import wire
from shared.venues.ports import ChainPush, IndexPush, KeyInfo, OptionQuoteRow

NS_PER_MS = 1_000_000
_NAN = math.nan
_MAX_IV = 100.0
_EXPONENT_MAX = 30
_DIGITS_MAX = 60
_OUR_ID_MAX = 2**63 - 1

_STATES: dict[int, VenueOrderState] = {
    -10: "invalid",
    -2: "waiting",
    -1: "new",
    0: "new",
    1: "filled",
    2: "partial",
    3: "cancelled",
    4: "new",
    5: "new",
    6: "invalid",
    10: "exercised",
}
"""Venue reference, section 6. An order on its way to a cancel (4, 5) still rests; fills make it partial."""

_PREPARED = -1
_STOP_LIMIT, _STOP_MARKET, _BLOCK_TRADE = 4, 5, 14

T = TypeVar("T")


class ParseError(ValueError):
    """The venue sent something that its interface does not allow."""


def decoded(kind: type[T], data: bytes | msgspec.Raw) -> T:
    """Decode, or raise ParseError naming the field."""
    try:
        return wire.decode(kind, data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ParseError(f"{kind.__name__}: {error}") from None


def decoded_list(kind: type[T], data: bytes | msgspec.Raw) -> list[T]:
    """A list of rows that may be null, or ParseError naming row and field."""
    return [] if bytes(data) == b"null" else decoded(list[kind], data)  # type: ignore[valid-type]


def exact(number: Decimal) -> Decimal:
    """The same number in plain notation without trailing zeros: 0E-8 is 0, 1.0E-4 is 0.0001, 1E+3 is 1000."""
    if not number.is_finite():
        raise ParseError(f"{number} is not a finite number")
    return _plain(number)


@lru_cache(maxsize=4_096)
def _plain(number: Decimal) -> Decimal:
    """Prices and quantities come again and again: what is equal has one plain notation."""
    if abs(number.adjusted()) > _EXPONENT_MAX or len(number.as_tuple().digits) > _DIGITS_MAX:
        raise ParseError(f"{str(number)[:40]} is no amount of anything")
    if not number:
        return Decimal(0)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if exponent < 0 and digits[-1] != 0:
        return number
    text = format(number, "f")
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def client_order_id_of(given: wire.Id, venue_order_id: int) -> int | None:
    """The client order id as a number; None when there is none, none that is a number, or only the venue's own id."""
    if given is None or given == "":
        return None
    try:
        number = int(given)
    except ValueError:
        return None
    return None if number == venue_order_id or not 0 < number <= _OUR_ID_MAX else number


def side_of(number: int) -> Side:
    if number == 1:
        return "buy"
    if number == 2:
        return "sell"
    raise ParseError(f"side {number} is neither 1 (buy) nor 2 (sell)")


def order_state(number: int, quantity: Decimal, filled: Decimal) -> VenueOrderState:
    state = _STATES.get(number)
    if state is None:
        raise ParseError(f"order state {number} is not known")
    return "partial" if state == "new" and 0 < filled <= quantity else state


def _state_of_stop(number: int | None, quantity: Decimal, filled: Decimal) -> VenueOrderState:
    """Of a stop order. Where it has no state (open orders), or none yet, nothing says that it was triggered."""
    if number is None or number == _PREPARED:
        return "partial" if filled > 0 else "waiting"
    return order_state(number, quantity, filled)


def parse_order(data: msgspec.Raw | bytes, *, open_order: bool = False) -> VenueOrder:
    """A row of open orders (which has no state: `open_order`), single query or history. `price` is 0 where there is
    none, as of a market order that somebody placed by hand."""
    row = decoded(wire.OrderRow, data)
    if row.state is None and not open_order:
        raise ParseError(f"order {row.orderId} has no state")
    quantity = exact(row.qty)
    filled = exact(row.fillQty or Decimal(0))
    if row.triggerPrice or row.tradeType in (_STOP_LIMIT, _STOP_MARKET):
        state = _state_of_stop(row.state, quantity, filled)
    else:
        state = order_state(0 if row.state is None else row.state, quantity, filled)
    return VenueOrder(
        venue_order_id=row.orderId,
        client_order_id=client_order_id_of(row.clientOrderId, row.orderId),
        symbol=row.symbol,
        side=side_of(row.tradeSide),
        quantity=quantity,
        filled_quantity=filled,
        price=exact(row.price or Decimal(0)),
        average_price=exact(row.avgPrice) if row.avgPrice else None,
        state=state,
        reduce_only=bool(row.reduceOnly),
        created_ns=row.createTime * NS_PER_MS,
        updated_ns=(row.updateTime or row.createTime) * NS_PER_MS,
        trigger_price=exact(row.triggerPrice) if row.triggerPrice else None,
        at_market=row.tradeType == _STOP_MARKET,
    )


def parse_order_frame(data: msgspec.Raw | bytes) -> VenueOrder:
    """A push of the order channel. It carries no trade id, so that its fills only show in `filled_quantity`."""
    frame = decoded(wire.OrderFrame, data)
    quantity = exact(frame.q)
    filled = max(exact(frame.fq or Decimal(0)), exact(frame.mq or Decimal(0)))
    if frame.ty in (_STOP_LIMIT, _STOP_MARKET):
        state = _state_of_stop(frame.os, quantity, filled)
    else:
        state = order_state(frame.os, quantity, filled)
    if state == "filled":
        # the venue's sample says 0 was filled; an order that was made smaller than what is filled has more
        filled = max(filled, quantity)
    return VenueOrder(
        venue_order_id=frame.oid,
        client_order_id=client_order_id_of(frame.coid, frame.oid),
        symbol=frame.s,
        side=side_of(frame.si),
        quantity=quantity,
        filled_quantity=filled,
        price=exact(frame.pr or Decimal(0)),
        average_price=exact(frame.ap) if frame.ap else None,
        state=state,
        reduce_only=bool(frame.ro),
        created_ns=frame.ct * NS_PER_MS,
        updated_ns=frame.ts * NS_PER_MS,
        at_market=frame.ty == _STOP_MARKET,
    )


def parse_fill(data: msgspec.Raw | bytes) -> VenueFill:
    row = decoded(wire.FillRow, data)
    return VenueFill(
        venue_trade_id=row.tradeId,
        venue_order_id=row.orderId,
        client_order_id=client_order_id_of(row.clientOrderId, row.orderId),
        symbol=row.symbol,
        side=side_of(row.tradeSide),
        quantity=exact(row.qty),
        price=exact(row.price),
        fee_usd=None if row.fee is None else exact(row.fee),
        is_taker=bool(row.isTaker),
        venue_ns=row.time * NS_PER_MS,
        is_block=row.tradeType == _BLOCK_TRADE,
    )


def parse_trade_frame(data: msgspec.Raw | bytes) -> VenueFill:
    """A push of the trade channel. It has a fee rate of undocumented sign and no amount: `fee_usd` is None."""
    frame = decoded(wire.TradeFrame, data)
    return VenueFill(
        venue_trade_id=frame.tradeId,
        venue_order_id=frame.orderId,
        client_order_id=client_order_id_of(frame.clientOrderId, frame.orderId),
        symbol=frame.symbol,
        side=side_of(frame.orderSide),
        quantity=exact(frame.matchQty),
        price=exact(frame.matchPrice),
        fee_usd=None,
        is_taker=bool(frame.isTaker),
        venue_ns=frame.tradeTime * NS_PER_MS,
    )


def parse_exercise(data: msgspec.Raw | bytes) -> VenueExercise:
    row = decoded(wire.ExerciseRow, data)
    return VenueExercise(
        symbol=row.symbol,
        quantity=signed(row.tradeSide, row.qty),
        settlement_price=exact(row.exercisePrice),
        settlement_cash_flow_usd=exact(row.settlementCashFlow),
        fee_usd=exact(row.fees or Decimal(0)),
        venue_ns=row.time * NS_PER_MS,
    )


def parse_transfer(data: msgspec.Raw | bytes) -> VenueTransfer | None:
    """A row of deposits and withdrawals; None for one that is under way, cancelled or failed: no money has moved."""
    row = decoded(wire.TransferRow, data)
    if row.side not in ("deposit", "withdraw"):
        raise ParseError(f"transfer {row.transactionRecordId}: side {row.side!r} is neither deposit nor withdraw")
    if row.status.lower() != "completed":
        return None
    amount = exact(row.amount)
    return VenueTransfer(
        transfer_id=str(row.transactionRecordId),
        coin=row.coin.upper(),
        amount=amount if row.side == "deposit" else -amount,
    )


def parse_positions(data: bytes) -> tuple[VenuePosition, ...]:
    """Positions that are not flat. P&L is by mark, which the venue's own `upnl` is not."""
    positions = []
    for row in decoded_list(wire.OptionPosition, data):
        quantity = signed(row.tradeSide, row.qty)
        if not quantity:
            continue
        mark = row.markPrice if row.markPrice and math.isfinite(row.markPrice) else None
        pnl = row.upnlByMarkPrice
        if pnl is None and mark is not None:
            pnl = (mark - float(row.avgPrice)) * float(quantity)
        positions.append(
            VenuePosition(
                symbol=row.symbol,
                quantity=quantity,
                average_price=exact(row.avgPrice),
                mark=mark,
                unrealized_pnl_usd=pnl,
                delta=row.delta,
            )
        )
    return tuple(positions)


def parse_account(data: bytes) -> VenueAccount:
    row = decoded(wire.AccountSummary, data)
    return VenueAccount(
        equity_usd=exact(row.equity),
        available_margin_usd=exact(row.availableMargin),
        initial_margin_usd=exact(row.imAmount),
        maintenance_margin_usd=exact(row.mmAmount),
        unrealized_pnl_usd=exact(row.unrealizedPnL or Decimal(0)),
        balances=_balances(row.accounts),
    )


def _balances(accounts: msgspec.Raw) -> dict[str, Decimal]:
    """Cash per coin that has any. It is shown, nothing is decided by it: rows that cannot be read leave it empty, and
    the account is read all the same."""
    try:
        cash = {
            each.coin: exact(each.cashBalanceAmount or each.equityAmount or Decimal(0))
            for each in decoded_list(wire.CoinAccount, accounts)
        }
    except ParseError:
        return {}
    return {coin: amount for coin, amount in cash.items() if amount}


def parse_holdings(data: bytes, needed: Collection[str] = ()) -> dict[str, VenueHolding]:
    """The assets of the account summary, those without any too. Something is sold by it: USDT must be among them, and
    it and what is `needed` must be readable where it is told; other rows that are not are left out."""
    found: dict[str, VenueHolding] = {}
    for item in decoded_list(msgspec.Raw, decoded(wire.AccountSummary, data).accounts):
        coin = decoded(wire.CoinName, item).coin
        try:
            row = decoded(wire.CoinAccount, item)
            if row.cashBalanceAmount is None or row.availableBalance is None:
                raise ParseError(f"account of {coin}: cashBalanceAmount and availableBalance must be there")
            found[coin] = VenueHolding(cash=exact(row.cashBalanceAmount), free=exact(row.availableBalance))
        except ParseError:
            if coin == "USDT" or coin in needed:
                raise
    if "USDT" not in found:
        raise ParseError("the account summary has no USDT")
    return found


def parse_key_info(data: bytes) -> KeyInfo:
    row = decoded(wire.ApiKeyInfo, data)
    return KeyInfo(user_id=str(row.userId), read_only=row.readOnly != 0)


def parse_instruments(
    listed: bytes, config: bytes, underlying: str, skipped: Callable[[str], None]
) -> tuple[Instrument, ...]:
    """Tradable options of one underlying ("BTCUSD"): ticks and lots from the list, the maximum from the public
    configuration. A row that cannot be read is reported to `skipped` and left out."""
    limits = decoded(wire.PublicConfig, config).optionConfig.get(underlying)
    if limits is None:
        raise ParseError(f"the public configuration has no optionConfig for {underlying}")
    max_quantity = exact(decoded(wire.OptionConfig, limits).limitMaxQty)
    instruments = []
    for data in decoded_list(msgspec.Raw, listed):
        try:
            row = decoded(wire.OptionInstrument, data)
            if not row.isActive:
                continue
            option = option_of(row.symbolName)
            tick, lot = exact(row.tickSize), exact(row.minQty)
            if tick <= 0 or lot <= 0:
                raise ParseError(f"{row.symbolName}: tickSize {tick} and minQty {lot} must be above 0")
        except (ParseError, SymbolError) as error:
            skipped(f"instrument: {error}")
            continue
        expiry_ns = row.expirationTimestamp * NS_PER_MS
        instruments.append(
            Instrument(
                symbol=row.symbolName,
                underlying=option.index,
                option_type=option.option_type,
                strike=option.strike,
                expiry_ns=expiry_ns,
                last_trade_ns=expiry_ns - (option.expiry_ns - option.last_trade_ns),
                tick_size=tick,
                lot_size=lot,
                min_quantity=lot,
                max_quantity=max_quantity,
            )
        )
    return tuple(instruments)


def parse_chain(
    data: bytes, underlying: str, expiry_ns: int, venue_ns: int, skipped: Callable[[str], None]
) -> ChainPush:
    """The REST chain of one expiry; it carries no time of its own."""
    rows = []
    for strike in decoded_list(wire.ChainStrike, data):
        for option in (strike.callOption, strike.putOption):
            if bytes(option) == b"null":
                continue
            try:
                rows.append(_chain_row(decoded(wire.ChainOption, option)))
            except ParseError as error:
                skipped(f"chain: {error}")
    return ChainPush(underlying=underlying, expiry_ns=expiry_ns, venue_ns=venue_ns, rows=tuple(rows))


def parse_chain_frame(
    data: msgspec.Raw | bytes,
    frame_ts_ms: int | None,
    skipped: Callable[[str], None],
    expiries_ns: Mapping[str, int] = MappingProxyType({}),
) -> tuple[ChainPush, ...]:
    """A push of the option-chain channel: one ChainPush per underlying and expiry in it (as a rule one).

    A row names its expiry by the date in its symbol alone, which means 08:00 UTC; `expiries_ns` has those of the
    options that are listed with another time.
    """
    groups: dict[tuple[str, int], list[OptionQuoteRow]] = {}
    newest_ms = frame_ts_ms or 0
    for item in decoded_list(msgspec.Raw, data):
        try:
            row = decoded(wire.ChainFrameRow, item)
            option = option_of(row.s)
        except (ParseError, SymbolError) as error:
            skipped(f"tOption: {error}")
            continue
        newest_ms = max(newest_ms, row.ts or 0)
        expiry_ns = expiries_ns.get(row.s, option.expiry_ns)
        groups.setdefault((option.index, expiry_ns), []).append(_pushed_row(row))
    return tuple(
        ChainPush(underlying=underlying, expiry_ns=expiry_ns, venue_ns=newest_ms * NS_PER_MS, rows=tuple(rows))
        for (underlying, expiry_ns), rows in groups.items()
    )


def parse_index_frame(data: msgspec.Raw | bytes, frame_ts_ms: int | None) -> IndexPush:
    frame = decoded(wire.SpotPriceFrame, data)
    return IndexPush(
        underlying=frame.s,
        price=_positive_price(frame.ip, frame.s),
        venue_ns=(frame.ts or frame_ts_ms or 0) * NS_PER_MS,
        perpetual_mark=frame.mp or math.nan,
    )


def parse_index(data: bytes, underlying: str, venue_ns: int) -> IndexPush:
    """The index out of the futures symbol information, which is one object or a list of them."""
    many = data.lstrip().startswith(b"[")
    rows: Iterable[msgspec.Raw | bytes] = decoded_list(msgspec.Raw, data) if many else (data,)
    for item in rows:
        if decoded(wire.SymbolName, item).symbol == underlying:
            row = decoded(wire.FuturesSymbol, item)
            return IndexPush(
                underlying=underlying,
                price=_positive_price(row.indexPrice, underlying),
                venue_ns=venue_ns,
                perpetual_mark=row.markPrice or math.nan,
            )
    raise ParseError(f"the futures symbol information has no {underlying}")


@lru_cache(maxsize=16_384)
def option_of(symbol: str) -> OptionSymbol:
    """The parts of a symbol; remembered, because every push names the same few thousand."""
    return parse_option_symbol(symbol)


def signed(trade_side: int, quantity: Decimal) -> Decimal:
    """A quantity of a position: short < 0."""
    return exact(quantity) if side_of(trade_side) == "buy" else -exact(quantity)


def _positive_price(price: float, name: str) -> float:
    if not 0 < price < math.inf:
        raise ParseError(f"index price {price} of {name} is not above 0")
    return price


def _known(value: float | None) -> float:
    return _NAN if value is None else value


def _price(value: float | None) -> float:
    """The venue writes 0 for a price that does not exist."""
    return value if value is not None and value > 0 else _NAN


def _iv(value: float | None) -> float:
    return value if value is not None and 0 < value < _MAX_IV else _NAN


def _chain_row(option: wire.ChainOption) -> OptionQuoteRow:
    bid, ask = _price(option.bid), _price(option.ask)
    return OptionQuoteRow(
        symbol=option.symbol,
        bid=bid,
        ask=ask,
        bid_size=_NAN if math.isnan(bid) else _known(option.bidSize),
        ask_size=_NAN if math.isnan(ask) else _known(option.askSize),
        mark=_price(option.markPrice),
        mark_iv=_iv(option.markIv),
        bid_iv=_iv(option.bidIv),
        ask_iv=_iv(option.askIv),
        delta=_known(option.delta),
        gamma=_known(option.gamma),
        vega=_known(option.vega),
        theta=_known(option.theta),
        rho=_known(option.rho),
        open_interest=_known(option.openInterest),
        volume=_known(option.volume),
        forward=_price(option.underlyingPrice),
    )


def _pushed_row(row: wire.ChainFrameRow) -> OptionQuoteRow:
    bid, ask = _price(row.bid), _price(row.ask)
    return OptionQuoteRow(
        symbol=row.s,
        bid=bid,
        ask=ask,
        bid_size=_NAN if math.isnan(bid) else _known(row.bs),
        ask_size=_NAN if math.isnan(ask) else _known(row.ask_size),
        mark=_price(row.mp),
        mark_iv=_iv(row.miv),
        bid_iv=_iv(row.biv),
        ask_iv=_iv(row.aiv),
        delta=_known(row.delta),
        gamma=_known(row.gamma),
        vega=_known(row.vega),
        theta=_known(row.theta),
        rho=_NAN,
        open_interest=_price(row.oi),  # the sockets push 0 whatever the open interest is
        volume=_known(row.v),
        forward=_price(row.up),
    )
