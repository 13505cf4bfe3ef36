"""What a condition or a strategy is shown: the newest facts with the age that is tolerated, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from shared.messages.account import AccountSnapshot
from shared.messages.market import IndexPrice
from shared.messages.trades import IntentRefused, TradeUpdate
from shared.options.chain import ChainView
from shared.options.instruments import underlying_of
from shared.strategy.market_reads import MarketReads
from shared.strategy.recall import Recall

SECOND_NS = 1_000_000_000


class Verdict(msgspec.Struct, frozen=True):
    """A condition's answer with its reason.

    open: yes, enter (of an entry condition) or yes, close (of an exit condition). waiting: no answer is possible
    yet because something is missing or stale; `open` is then False.
    """

    open: bool
    reason: str
    waiting: bool = False

    @staticmethod
    def wait(reason: str) -> Verdict:
        return Verdict(open=False, reason=f"waiting: {reason}", waiting=True)


class Tolerances(msgspec.Struct, frozen=True, kw_only=True):
    """The greatest age, from receipt, at which data still decides.

    What was received later than it is now was stamped by a clock that was set back since: nobody knows how old it is.
    """

    market_ns: int = 10 * SECOND_NS
    account_ns: int = 30 * SECOND_NS


class TradeHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What execution's events say of one strategy. last_created_ns: when its last trade was made. last_loss_ns: when
    its last trade that lost money, fees counted, ended."""

    open_trades: int = 0
    trades_today: int = 0
    last_closed_ns: int | None = None
    last_loss_ns: int | None = None
    next_ordinal: int = 1
    last_created_ns: int | None = None


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry condition sees. `chains` are keyed by index name ("BTCUSD"), `history` is of the strategy."""

    account: AccountSnapshot | None
    chains: Mapping[str, ChainView]
    tolerances: Tolerances = Tolerances()
    history: TradeHistory = TradeHistory()
    recall: Recall = msgspec.field(default_factory=Recall)
    market: MarketReads = MarketReads()

    def fresh_account(self, now_ns: int) -> AccountSnapshot | str:
        """The account, or why it cannot be used."""
        return _fresh_account(self.account, self.tolerances, now_ns)

    def fresh_chain(self, underlying: str, now_ns: int) -> ChainView | str:
        """The chain of `underlying`, or why it cannot be used."""
        return _fresh_chain(self.chains, underlying, self.tolerances, now_ns)

    def fresh_chain_of(self, symbol: str, now_ns: int) -> ChainView | str:
        """The chain in which an option or a future has a fresh price, or why there is none."""
        return _fresh_chain_of(self.chains, symbol, self.tolerances, now_ns)


class ExitView(msgspec.Struct, frozen=True, kw_only=True):
    """What an exit condition sees: one open trade, the market around it, and all that hedged it so far."""

    trade: TradeUpdate
    account: AccountSnapshot | None
    chains: Mapping[str, ChainView]
    tolerances: Tolerances = Tolerances()
    recall: Recall = msgspec.field(default_factory=Recall)
    market: MarketReads = MarketReads()
    hedges: tuple[TradeUpdate, ...] = ()

    @property
    def opened_ns(self) -> int:
        """When the trade was open; when it was created, while it is not yet."""
        return self.trade.created_ns if self.trade.opened_ns is None else self.trade.opened_ns

    def fresh_account(self, now_ns: int) -> AccountSnapshot | str:
        """The account, or why it cannot be used."""
        return _fresh_account(self.account, self.tolerances, now_ns)

    def fresh_chain(self, underlying: str, now_ns: int) -> ChainView | str:
        """The chain of `underlying`, or why it cannot be used."""
        return _fresh_chain(self.chains, underlying, self.tolerances, now_ns)

    @property
    def underlying(self) -> str:
        """The index name of the first leg, "BTCUSD"."""
        return underlying_of(self.trade.legs[0].symbol)

    def fresh_index(self, now_ns: int) -> float | str:
        """The index price of the trade's underlying in its chain, or why there is none."""
        chain = _fresh_chain(self.chains, self.underlying, self.tolerances, now_ns)
        if isinstance(chain, str):
            return chain
        index_price = chain.snapshot.index_price
        return index_price if math.isfinite(index_price) else f"no index price of {self.underlying}"

    def leg_value(self, leg_index: int, column: str, now_ns: int) -> float | str:
        """One value of a leg's option from a fresh chain (per unit, held long), or why there is none."""
        return self.symbol_value(self.trade.legs[leg_index].symbol, column, now_ns)

    def symbol_value(self, symbol: str, column: str, now_ns: int) -> float | str:
        """The same of any option or perpetual."""
        chain = _fresh_chain_of(self.chains, symbol, self.tolerances, now_ns)
        if isinstance(chain, str):
            return chain
        value = chain.value(symbol, column)
        return f"no {column} of {symbol}" if value is None else value


class DeskView(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy sees of the desk. `entry_closed`: why nothing may be opened now, None when it may.

    `chains` and `index_prices` are keyed by index name ("BTCUSD"); an index price is newer than the one in its chain.
    foreign: what the venue holds that is no trade's, by symbol, signed; None before execution has told of it.
    stood_against: by a trade's id, the newest intent that execution refused as it would net against that trade.
    """

    account: AccountSnapshot | None
    chains: Mapping[str, ChainView]
    index_prices: Mapping[str, IndexPrice]
    tolerances: Tolerances
    history: TradeHistory
    trades: tuple[TradeUpdate, ...]
    entry_closed: str | None
    recall: Recall = msgspec.field(default_factory=Recall)
    market: MarketReads = MarketReads()
    foreign: Mapping[str, Decimal] | None = None
    stood_against: Mapping[str, IntentRefused] = {}

    @property
    def entry_view(self) -> EntryView:
        return EntryView(
            account=self.account,
            chains=self.chains,
            tolerances=self.tolerances,
            history=self.history,
            recall=self.recall,
            market=self.market,
        )


def age_text(age_ns: int) -> str:
    """How old something is, or by how much the clock that stamped it is ahead."""
    return f"{age_ns / SECOND_NS:.1f} s old" if age_ns >= 0 else f"from a clock {-age_ns / SECOND_NS:.1f} s ahead"


def _fresh_account(account: AccountSnapshot | None, tolerances: Tolerances, now_ns: int) -> AccountSnapshot | str:
    if account is None:
        return "no account snapshot yet"
    age_ns = now_ns - account.received_ns
    return account if abs(age_ns) <= tolerances.account_ns else f"the account snapshot is {age_text(age_ns)}"


def _fresh_chain(
    chains: Mapping[str, ChainView], underlying: str, tolerances: Tolerances, now_ns: int
) -> ChainView | str:
    chain = chains.get(underlying)
    if chain is None:
        return f"no option chain of {underlying} yet"
    age_ns = now_ns - chain.snapshot.received_ns
    return chain if abs(age_ns) <= tolerances.market_ns else f"the option chain of {underlying} is {age_text(age_ns)}"


def _fresh_chain_of(
    chains: Mapping[str, ChainView], symbol: str, tolerances: Tolerances, now_ns: int
) -> ChainView | str:
    """Each future has an age of its own."""
    chain = _fresh_chain(chains, underlying_of(symbol), tolerances, now_ns)
    if isinstance(chain, str):
        return chain
    age_ns = now_ns - chain.received_ns(symbol)
    return chain if abs(age_ns) <= tolerances.market_ns else f"the price of {symbol} is {age_text(age_ns)}"
