"""Trades that a strategy would have made: opened and closed at the books as they are, nothing sent.

What is bought is paid the ask, what is sold gets the bid, at once and whatever the size there, with the fee that the
venue would take: a limit order that waits does better, a large one worse. A close without the other side in the book
is at mark. The fee of coins that are bought is kept of them, in whole lots. An expiry settles at the index price that
is known then, where the venue takes an average. Funding is that of `dry_funding.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.rows import DryTradeMoved
from services.strategy.trades import TradeBook
from shared.ids import hedge_name, hedged_name
from shared.messages.base import Side
from shared.messages.control import DryRunResult
from shared.messages.trades import Grant, LegStatus, RollLink, TradeUpdate
from shared.options.chain import snap_up
from shared.options.instruments import expiry_and_last_trade_ns, instrument_kind, underlying_of
from shared.options.symbols import parse_option_symbol
from shared.strategy.pnl import trade_pnl
from shared.strategy.protocol import OpenStructure
from shared.strategy.views import TradeHistory

_EPOCH = 0
_ENDED_KEPT = 1_000
_CENTS = Decimal("0.00000001")
MS = 1_000_000


def is_dry(trade_id: str) -> bool:
    return trade_id.startswith("dry-")


class _Ended:
    """What the ended dry trades of a strategy came to. `trades`: the newest of them."""

    def __init__(self) -> None:
        self.count = 0
        self.net_usd = Decimal(0)
        self.funding_usd = Decimal(0)
        self.trades: deque[TradeUpdate] = deque(maxlen=_ENDED_KEPT)


class DryDesk:
    """Durable: folded from its rows. `record` is the core's."""

    def __init__(
        self, account_id: str, config: StrategyHostConfig, board: Board, record: Callable[[DryTradeMoved], None]
    ) -> None:
        self._account_id = account_id
        self._config = config
        self._board = board
        self._record = record
        self._trades = TradeBook(account_id, config.day_boundary_minute)
        self._ended: dict[str, _Ended] = {}
        self._hedges: dict[str, dict[str, TradeUpdate]] = {}
        self._funded_ns: dict[str, int] = {}

    def apply(self, row: DryTradeMoved) -> None:
        self._trades.apply(row.trade, _EPOCH)
        if row.funded_ns and not row.trade.is_final:
            self._funded_ns[row.trade.trade_id] = row.funded_ns
        if row.trade.is_final:
            self._funded_ns.pop(row.trade.trade_id, None)
            ended = self._ended.setdefault(row.strategy, _Ended())
            ended.count += 1
            ended.net_usd += row.trade.net_realized_usd
            ended.funding_usd += row.trade.funding_usd
            ended.trades.append(row.trade)
        hedged = row.trade.hedge_of
        if hedged:
            self._hedges.setdefault(hedged, {})[row.trade.trade_id] = row.trade
        hedges = self._hedges.get(hedged or row.trade.trade_id, {})
        if (
            all(each.is_final for each in hedges.values())
            and self._trades.open_trade(hedged or row.trade.trade_id) is None
        ):
            self._hedges.pop(hedged or row.trade.trade_id, None)

    def hedges_of(self, trade_id: str) -> tuple[TradeUpdate, ...]:
        """All that hedged a trade so far, ended ones too, until all of it has ended."""
        return tuple(self._hedges.get(trade_id, {}).values())

    def without_hedged(self) -> list[TradeUpdate]:
        """Open hedges of what has ended."""
        gone = [hedges for hedged, hedges in self._hedges.items() if self._trades.open_trade(hedged) is None]
        return [each for hedges in gone for each in hedges.values() if not each.is_final]

    def forget(self, strategy: str) -> None:
        """Drop all trades of a strategy, and what hedges them."""
        for trade in (*self.open_trades(strategy), *self.open_trades(hedge_name(strategy))):
            self._funded_ns.pop(trade.trade_id, None)
        self._hedges = {
            hedged: hedges
            for hedged, hedges in self._hedges.items()
            if all(hedged_name(each.strategy) != strategy for each in hedges.values())
        }
        for name in (strategy, hedge_name(strategy)):
            self._trades.forget(name)
            self._ended.pop(name, None)

    def open_trades(self, strategy: str | None = None) -> Iterator[TradeUpdate]:
        return self._trades.open_trades(strategy)

    def trades(self, strategy: str) -> tuple[TradeUpdate, ...]:
        """The newest ended ones, oldest first, and those that are open, with what hedges them."""
        names = (strategy, hedge_name(strategy))
        ended = [trade for name in names if name in self._ended for trade in self._ended[name].trades]
        held = [trade for name in names for trade in self.open_trades(name)]
        return (
            *sorted(ended, key=lambda trade: trade.closed_ns or 0),
            *sorted(held, key=lambda trade: trade.created_ns),
        )

    def with_history(self, history: TradeHistory, strategy: str, now_ns: int) -> TradeHistory:
        """The counts of a strategy's trades with those that it would have made."""
        if strategy not in self._ended and not self._trades.open_count(strategy):
            return history
        dry = self._trades.history(strategy, 0, now_ns)
        return msgspec.structs.replace(
            history,
            open_trades=history.open_trades + dry.open_trades,
            trades_today=history.trades_today + dry.trades_today,
            last_closed_ns=_later(history.last_closed_ns, dry.last_closed_ns),
            last_loss_ns=_later(history.last_loss_ns, dry.last_loss_ns),
            last_created_ns=_later(history.last_created_ns, dry.last_created_ns),
        )

    def result(self, strategy: str) -> DryRunResult | None:
        """What its dry trades came to so far, with what hedged them; None if it made none."""
        held = list(self.open_trades(strategy))
        ended, hedges = self._ended.get(strategy), self._ended.get(hedge_name(strategy), _Ended())
        if not held and ended is None:
            return None
        ended = ended or _Ended()
        on_mark = (*held, *self.open_trades(hedge_name(strategy)))
        values = [trade_pnl(trade, self._mark_of(trade)) for trade in on_mark]
        known = [value.net_usd for value in values if not isinstance(value, str)]
        return DryRunResult(
            open=len(held),
            closed=ended.count,
            net_usd=ended.net_usd + hedges.net_usd,
            open_pnl_usd=sum(known) if len(known) == len(values) else None,
            funding_usd=sum((each.funding_usd for each in on_mark), ended.funding_usd + hedges.funding_usd),
        )

    def open(
        self,
        strategy: str,
        intent: OpenStructure,
        now_ns: int,
        *,
        rolled_from: TradeUpdate | None = None,
        budget_usd: Decimal | None = None,
    ) -> TradeUpdate | str:
        """Open it at the touch, or say why it cannot be priced or, as the successor of a trade, costs more than its
        budget."""
        legs: list[LegStatus] = []
        fees, premium, cost = Decimal(0), Decimal(0), Decimal(0)
        for leg in intent.legs:
            price = self._touch(leg.symbol, leg.side, now_ns)
            if isinstance(price, str):
                return price
            paid = Decimal(str(price))
            legs.append(
                LegStatus(
                    symbol=leg.symbol,
                    side=leg.side,
                    quantity=leg.quantity,
                    filled_quantity=leg.quantity,
                    closed_quantity=Decimal(0),
                    open_price=paid,
                    close_price=None,
                    fee_quantity=self._fee_coins(leg.symbol, leg.quantity),
                )
            )
            fees += self._fee(leg.symbol, price, leg.quantity)
            signed_usd = paid * leg.quantity * (1 if leg.side == "buy" else -1)
            cost += signed_usd
            if instrument_kind(leg.symbol) == "option":
                premium += signed_usd
        if budget_usd is not None and cost > budget_usd:
            return f"it costs {cost:,.2f} USD at the touch, and {budget_usd:,.2f} are left of the net limit"
        ordinal = self._trades.history(strategy, 0, now_ns).next_ordinal
        trade_id = f"dry-{strategy}-{ordinal}"
        trade = TradeUpdate(
            trade_id=trade_id,
            account_id=self._account_id,
            strategy=strategy,
            ordinal=ordinal,
            intent_id=trade_id,
            state="OPEN",
            reason="dry run",
            legs=tuple(legs),
            execution_mode=intent.execution_mode,
            policy=intent.policy,
            exit_conditions=intent.exit_conditions,
            hard_deadline_ns=intent.hard_deadline_ns,
            created_ns=now_ns,
            opened_ns=now_ns,
            closed_ns=None,
            updated_ns=now_ns,
            realized_pnl_usd=Decimal(0),
            fees_usd=fees,
            entry_premium_usd=premium,
            grant=_no_grant(trade_id, self._account_id, now_ns),
            grant_open=False,
            if_broken=intent.if_broken,
            roll=None if rolled_from is None else _link(rolled_from),
            hedge_of=intent.hedge_of,
        )
        self._record(DryTradeMoved(strategy=strategy, trade=trade))
        return trade

    def close(self, trade: TradeUpdate, reason: str, now_ns: int) -> TradeUpdate | None:
        """Close it at the touch, an expired leg at its intrinsic value. None while a leg has no price."""
        realized, fees, legs = trade.realized_pnl_usd, trade.fees_usd, []
        is_expired, cost = False, Decimal(0)
        for leg in trade.legs:
            intrinsic = self._intrinsic(leg.symbol, now_ns)
            price = self._close_price(leg, now_ns) if intrinsic is None else intrinsic
            if price is None or leg.open_price is None:
                return None
            is_expired = is_expired or intrinsic is not None
            got = Decimal(str(price))
            cost += got * leg.held_quantity * (-1 if leg.side == "buy" else 1)
            realized += (got - leg.open_price) * leg.held_quantity * (1 if leg.side == "buy" else -1)
            fees += self._fee(leg.symbol, price, leg.held_quantity)
            legs.append(_closed_by(leg, leg.held_quantity, got))
        ended = msgspec.structs.replace(
            trade,
            state="SETTLED" if is_expired else "CLOSED",
            reason=reason,
            legs=tuple(legs),
            closed_ns=now_ns,
            updated_ns=now_ns,
            realized_pnl_usd=realized,
            fees_usd=fees,
            close_cost_usd=cost,
        )
        self._record(DryTradeMoved(strategy=trade.strategy, trade=ended))
        return ended

    def reduce(self, trade: TradeUpdate, keep: Decimal, now_ns: int) -> TradeUpdate | None:
        """Close what a trade of one leg holds beyond `keep`, at the touch. None while there is no price."""
        (leg,) = trade.legs
        price, part = self._close_price(leg, now_ns), leg.held_quantity - keep
        if price is None or leg.open_price is None or part <= 0:
            return None
        got = Decimal(str(price))
        left = msgspec.structs.replace(
            trade,
            legs=(_closed_by(leg, part, got),),
            updated_ns=now_ns,
            realized_pnl_usd=trade.realized_pnl_usd
            + (got - leg.open_price) * part * (1 if leg.side == "buy" else -1),
            fees_usd=trade.fees_usd + self._fee(leg.symbol, price, part),
        )
        funded_ns = self.funded_ns(trade.trade_id)
        self._record(DryTradeMoved(strategy=trade.strategy, trade=left, funded_ns=funded_ns))
        return left

    def funded_ns(self, trade_id: str) -> int:
        """The last funding that is in an open trade, 0 for none."""
        return self._funded_ns.get(trade_id, 0)

    def fund(self, trade: TradeUpdate, paid_usd: Decimal, funded_ns: int) -> TradeUpdate:
        """Add to an open trade what it has paid (received < 0) of all fundings up to this one."""
        # its hedge is adjusted no later for it: `updated_ns` says when what it holds has changed
        funded = msgspec.structs.replace(trade, funding_usd=trade.funding_usd + paid_usd.quantize(_CENTS))
        self._record(DryTradeMoved(strategy=trade.strategy, trade=funded, funded_ns=funded_ns))
        return funded

    def must_end(self, trade: TradeUpdate, now_ns: int) -> str | None:
        """Why it ends now whatever its conditions say: its deadline, or the expiry of a leg."""
        if trade.hard_deadline_ns is not None and now_ns >= trade.hard_deadline_ns:
            return "its deadline has come"
        expired = [leg.symbol for leg in trade.legs if _has_expired(leg.symbol, now_ns)]
        return f"{expired[0]} has expired" if expired else None

    def _touch(self, symbol: str, side: Side, now_ns: int) -> float | str:
        underlying = underlying_of(symbol)
        chain = self._board.chains.get(underlying)
        if chain is None or abs(now_ns - chain.received_ns(symbol)) > self._config.market_tolerance_ms * MS:
            return f"there is no fresh price of {symbol}"
        quote = chain.quote(symbol)
        price = None if quote is None else quote.ask if side == "buy" else quote.bid
        return f"{symbol} has no {'ask' if side == 'buy' else 'bid'}" if price is None else price

    def _close_price(self, leg: LegStatus, now_ns: int) -> float | None:
        price = self._touch(leg.symbol, "sell" if leg.side == "buy" else "buy", now_ns)
        if not isinstance(price, str):
            return price
        chain = self._board.chains.get(underlying_of(leg.symbol))
        if chain is None or abs(now_ns - chain.received_ns(leg.symbol)) > self._config.market_tolerance_ms * MS:
            return None
        return chain.value(leg.symbol, "mark")

    def _intrinsic(self, symbol: str, now_ns: int) -> float | None:
        """What an expired option or future is worth, None while it has not expired or the index is not known."""
        index = self._index(symbol)
        if index is None or not _has_expired(symbol, now_ns):
            return None
        if instrument_kind(symbol) != "option":
            return index
        option = parse_option_symbol(symbol)
        return max(0.0, (index - float(option.strike)) * (1 if option.option_type == "C" else -1))

    def _fee(self, symbol: str, price: float, quantity: Decimal) -> Decimal:
        index = self._index(symbol)
        kind = instrument_kind(symbol)
        if kind != "option":
            config = self._config
            rate = config.dry_run_spot_fee_rate if kind == "spot" else config.dry_run_futures_fee_rate
            return (Decimal(str(rate * price)) * quantity).quantize(_CENTS)
        most = self._config.dry_run_fee_cap_fraction * price
        per_unit = most if index is None else min(self._config.dry_run_fee_rate * index, most)
        return (Decimal(str(per_unit)) * quantity).quantize(_CENTS)

    def _fee_coins(self, symbol: str, quantity: Decimal) -> Decimal:
        """What the venue keeps of coins that are bought, up to whole lots, as what is left is sold in lots."""
        chain = self._board.chains.get(underlying_of(symbol))
        pair = None if chain is None else chain.instrument(symbol)
        if pair is None or not pair.is_spot:
            return Decimal(0)
        return snap_up(quantity * Decimal(str(self._config.dry_run_spot_fee_rate)), pair.lot_size)

    def _index(self, symbol: str) -> float | None:
        underlying = underlying_of(symbol)
        newest, chain = self._board.index_prices.get(underlying), self._board.chains.get(underlying)
        if newest is not None:
            return newest.price
        return None if chain is None else chain.snapshot.index_price

    def _mark_of(self, trade: TradeUpdate) -> Callable[[int], float | str]:
        def mark(index: int) -> float | str:
            symbol = trade.legs[index].symbol
            chain = self._board.chains.get(underlying_of(symbol))
            value = None if chain is None else chain.value(symbol, "mark")
            return f"no mark of {symbol}" if value is None else value

        return mark


def _closed_by(leg: LegStatus, part: Decimal, price: Decimal) -> LegStatus:
    """The leg with `part` of it closed at this price; `close_price` is the average of all that is closed."""
    closed = leg.closed_quantity + part
    if not closed:
        return leg
    before = (leg.close_price or Decimal(0)) * leg.closed_quantity
    average = price if not before else ((before + price * part) / closed).quantize(_CENTS)
    return msgspec.structs.replace(leg, closed_quantity=closed, close_price=average)


def _link(ended: TradeUpdate) -> RollLink:
    """The place of its successor in the chain."""
    before = ended.roll
    return RollLink(
        chain_id=ended.trade_id if before is None else before.chain_id,
        number=1 if before is None else before.number + 1,
        rolled_from=ended.trade_id,
        earlier_pnl_usd=ended.chain_pnl_usd,
    )


def _later(one_ns: int | None, other_ns: int | None) -> int | None:
    return max((at for at in (one_ns, other_ns) if at is not None), default=None)


def _has_expired(symbol: str, now_ns: int) -> bool:
    times = expiry_and_last_trade_ns(symbol)
    return times is not None and now_ns >= times[0]


def legs_text(intent: OpenStructure) -> str:
    return ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in intent.legs)


def result_text(result: DryRunResult) -> str:
    """In words, USD."""
    on_mark = "not known" if result.open_pnl_usd is None else f"{result.open_pnl_usd:+,.2f}"
    held = f"{result.open} open, {on_mark} USD on mark; " if result.open else ""
    funding = f", funding {result.funding_usd:+,.2f} USD paid" if result.funding_usd else ""
    return f"dry run: {held}{result.closed} closed, {result.net_usd:+,.2f} USD after fees{funding}"


def _no_grant(trade_id: str, account_id: str, now_ns: int) -> Grant:
    """Nothing was asked of risk."""
    return Grant(
        grant_id="",
        intent_id=trade_id,
        account_id=account_id,
        legs=(),
        deadline_ns=now_ns,
        halt_epoch=0,
        issued_ns=now_ns,
        margin_usd=0.0,
        max_loss_usd=None,
    )
