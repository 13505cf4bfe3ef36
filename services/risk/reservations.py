"""What was granted and may still become positions: the room that no other intent may spend."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from itertools import takewhile

import msgspec

from shared.ids import is_hedge_name
from shared.messages.trades import Grant, LegOrder, TradeUpdate

_INTENTS_REMEMBERED = 10_000
_MINUTE_NS = 60 * 1_000_000_000


class AtRisk(msgspec.Struct, frozen=True):
    """What one trade, or one grant that may become a trade, can lose: as granted, else the margin that it ties up."""

    strategy: str
    usd: float


class _TradeView(msgspec.Struct, frozen=True):
    strategy: str
    grant: Grant
    grant_open: bool
    is_final: bool
    released_ns: int
    """When execution let the grant go, by its clock; 0 while it is open."""


class Reservations:
    """Grants issued (durable: folded from rows) and the trades made of them (volatile: replayed by execution).

    A grant counts until execution says that it is closed *and* an account asked for afterwards shows the outcome, or
    until execution has refused its intent for good, or until its deadline has passed without a trade. One for an
    opening that takes long is kept free no longer than the others when no trade was made of it: `unused_ttl_ns`.
    """

    def __init__(self, release_delay_ns: int, account_lag_ns: int, unused_ttl_ns: int) -> None:
        self._release_delay_ns = release_delay_ns
        self._unused_ttl_ns = unused_ttl_ns
        self._account_lag_ns = account_lag_ns
        self._issued: dict[str, Grant] = {}
        self._without_trade: dict[str, Grant] = {}
        """Those of `_issued` of whose intent no trade is known: few, and looked through for each grant."""

        self._issued_lately: deque[tuple[int, str]] = deque()
        """When each grant of the last minute was issued, and to which strategy; `_granted` counts them."""

        self._granted: Counter[str] = Counter()

        self._refused: dict[str, None] = {}
        """Intents that execution has refused for good, as long as it is the same execution that says so."""

        self._trades: dict[str, _TradeView] = {}
        self._trade_of_intent: dict[str, str] = {}

    def issue(self, grant: Grant, at_ns: int) -> None:
        """Remember a new grant; a later one of the same intent replaces it."""
        ended = takewhile(lambda known: self._free_ns(known) <= at_ns, self._issued.values())
        # all have the same time to live: the oldest end first
        for oldest in tuple(ended):
            del self._issued[oldest.intent_id]
            self._without_trade.pop(oldest.intent_id, None)
        self._issued.pop(grant.intent_id, None)
        self._issued[grant.intent_id] = grant
        if grant.intent_id not in self._trade_of_intent and grant.intent_id not in self._refused:
            self._without_trade[grant.intent_id] = grant
        self._forget_issued(at_ns)
        strategy = strategy_of(grant.intent_id)
        self._issued_lately.append((at_ns, strategy))
        self._granted[strategy] += 1

    def forget_trades(self) -> None:
        """Execution started anew: its replay tells of all trades again."""
        self._trades.clear()
        self._trade_of_intent.clear()
        self._refused.clear()
        self._without_trade = dict(self._issued)

    def on_trade(self, update: TradeUpdate) -> None:
        earlier = self._trades.get(update.trade_id)
        released_ns = 0
        if not update.grant_open:
            released_ns = update.updated_ns if earlier is None or earlier.grant_open else earlier.released_ns
        self._trades[update.trade_id] = _TradeView(
            strategy=update.strategy,
            grant=update.grant,
            grant_open=update.grant_open,
            is_final=update.is_final,
            released_ns=released_ns,
        )
        self._trade_of_intent[update.intent_id] = update.trade_id
        self._without_trade.pop(update.intent_id, None)
        while len(self._trade_of_intent) > _INTENTS_REMEMBERED:
            del self._trade_of_intent[next(iter(self._trade_of_intent))]

    def on_refused(self, intent_id: str) -> None:
        """Execution has refused an intent for good: its grant can never be used, and gives back its room."""
        if intent_id in self._trade_of_intent:
            return
        self._refused[intent_id] = None
        self._without_trade.pop(intent_id, None)
        while len(self._refused) > _INTENTS_REMEMBERED:
            del self._refused[next(iter(self._refused))]

    def on_account(self, asked_ns: int) -> None:
        """Drop final trades whose outcome this account shows."""
        done = [
            trade_id
            for trade_id, trade in self._trades.items()
            if trade.is_final and not self._counts(trade, asked_ns)
        ]
        for trade_id in done:
            del self._trades[trade_id]

    def outstanding(self, now_ns: int, asked_ns: int, *, beside: str) -> Iterator[Grant]:
        """Grants that count now, given an account asked for at `asked_ns`; not that of the intent `beside`."""
        for trade in self._trades.values():
            if self._counts(trade, asked_ns) and trade.grant.intent_id != beside:
                yield trade.grant
        for grant in self._unused(now_ns):
            if grant.intent_id != beside:
                yield grant

    def at_risk(self, now_ns: int, *, beside: str) -> tuple[AtRisk, ...]:
        """Trades that are not final, and grants that may still become one; not the grant of the intent `beside`."""
        trades = [_at_risk(trade.strategy, trade.grant) for trade in self._trades.values() if not trade.is_final]
        grants = [
            _at_risk(strategy_of(grant.intent_id), grant)
            for grant in self._unused(now_ns)
            if grant.intent_id != beside
        ]
        return (*trades, *grants)

    def running_since(self, since_ns: int, now_ns: int, strategy: str) -> int:
        """Trades and unused grants of a strategy ("" = any) that were granted since then and are not over.

        Hedges are not among them: each belongs to a trade, and may stay as long as that one does.
        """
        granted = [(trade.strategy, trade.grant) for trade in self._trades.values() if not trade.is_final]
        granted += [(strategy_of(grant.intent_id), grant) for grant in self._unused(now_ns)]
        return sum(
            grant.issued_ns >= since_ns and strategy in ("", name) and not is_hedge_name(name)
            for name, grant in granted
        )

    def grant_of(self, intent_id: str, now_ns: int) -> Grant | None:
        """The newest grant of an intent that still counts: what holds no room any more is not given again."""
        grant = self._issued.get(intent_id)
        if grant is None or intent_id in self._refused:
            return None
        if intent_id in self._without_trade and now_ns >= self._free_ns(grant):
            return None
        return grant

    def was_refused(self, intent_id: str) -> bool:
        """Whether execution has refused this intent for good."""
        return intent_id in self._refused

    def has_trade(self, intent_id: str) -> bool:
        return intent_id in self._trade_of_intent

    def granted_lately(self, now_ns: int) -> Mapping[str, int]:
        """How many grants each strategy was given within the last minute."""
        self._forget_issued(now_ns)
        return dict(self._granted)

    def _forget_issued(self, now_ns: int) -> None:
        while self._issued_lately and self._issued_lately[0][0] <= now_ns - _MINUTE_NS:
            _, strategy = self._issued_lately.popleft()
            self._granted[strategy] -= 1
            if not self._granted[strategy]:
                del self._granted[strategy]

    def _unused(self, now_ns: int) -> Iterator[Grant]:
        for grant in self._without_trade.values():
            if now_ns < self._free_ns(grant):
                yield grant

    def _free_ns(self, grant: Grant) -> int:
        """When a grant of which no trade was made no longer counts."""
        return min(grant.deadline_ns, grant.issued_ns + self._unused_ttl_ns) + self._release_delay_ns

    def _counts(self, trade: _TradeView, asked_ns: int) -> bool:
        return trade.grant_open or asked_ns < trade.released_ns + self._account_lag_ns


def strategy_of(intent_id: str) -> str:
    """The strategy of an intent: its id is "<strategy>-<ordinal>"."""
    return intent_id.rpartition("-")[0]


def _at_risk(strategy: str, grant: Grant) -> AtRisk:
    return AtRisk(strategy, grant.margin_usd if grant.max_loss_usd is None else grant.max_loss_usd)


def covers(grant: Grant, legs: tuple[LegOrder, ...]) -> bool:
    """True when the grant was given for exactly these legs."""
    granted = [(leg.symbol, leg.side, leg.max_quantity) for leg in grant.legs]
    return granted == [(leg.symbol, leg.side, leg.quantity) for leg in legs]
