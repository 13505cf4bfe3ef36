"""What nobody raises and the monitor sees for itself: naked legs, expiring shorts, a venue out of reach."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from services.monitor.alert_config import FigureRule
from services.monitor.alerts import Matter
from services.monitor.effects import AlertRecord
from services.monitor.figures import SECOND, FigureWatch, Finding, OrderOutcomes, figures_of
from shared.messages.account import AccountSnapshot
from shared.messages.alert_kinds import severity_of
from shared.messages.trades import LegStatus, TradeUpdate
from shared.options.instruments import base_of, instrument_kind
from shared.options.symbols import SymbolError, parse_option_symbol

NAKED_AFTER_NS = 10 * SECOND
"""Legs are filled one after the other: only what lasts longer is naked."""

_DAY_NS = 86_400 * SECOND
_FLAP_WINDOW_NS = 1_800 * SECOND
_FLAPS = 3
_ONE_OUTAGE_NS = 60 * SECOND
"""What a service tells of within so long of each other, while none of it is over, is one failure."""

_VENUE_TROUBLE = frozenset({"account_unreachable", "venue_unreadable", "market_stream_down", "market_data_stale"})
_MAINTENANCE = ("10553", "under maintenance")


def uncovered(trade: TradeUpdate) -> Decimal:
    """How much of the trade's short options and futures lacks the protection that its structure has for them, in
    base coin.

    Per underlying and option type: what is sold and held beyond what is bought and held, less what the structure
    itself leaves uncovered. 0 for a structure without long options, and for quotes, whose legs are none.
    """
    if trade.execution_mode == "quoting" or not any(leg.held_quantity for leg in trade.legs):
        return Decimal(0)
    held: dict[tuple[str, str], Decimal] = {}
    planned: dict[tuple[str, str], Decimal] = {}
    has_long: set[tuple[str, str]] = set()
    for leg in trade.legs:
        for key, sign in _kinds_of(leg.symbol, -1 if leg.side == "buy" else 1):
            held[key] = held.get(key, Decimal(0)) + sign * _covering(leg)
            planned[key] = planned.get(key, Decimal(0)) + sign * leg.quantity
            if sign < 0:
                has_long.add(key)
    return sum((max(held[key] - max(planned[key], Decimal(0)), Decimal(0)) for key in has_long), Decimal(0))


def _covering(leg: LegStatus) -> Decimal:
    """What a leg holds; of coins with what the venue kept of them as its fee: nobody need do anything about that."""
    if leg.held_quantity and instrument_kind(leg.symbol) == "spot":
        return leg.held_quantity + leg.fee_quantity
    return leg.held_quantity


def _kinds_of(symbol: str, sign: int) -> list[tuple[tuple[str, str], int]]:
    """Base and option type that a leg covers (sign < 0) or leaves open (> 0): a future covers calls and leaves
    puts open where it is bought, and the other way round where it is sold. Coins, which were paid, cover calls."""
    if instrument_kind(symbol) == "spot":
        return [((base_of(symbol), "C"), sign)]
    if instrument_kind(symbol) in ("perpetual", "future"):
        return [((base_of(symbol), "C"), sign), ((base_of(symbol), "P"), -sign)]
    try:
        option = parse_option_symbol(symbol)
    except SymbolError:
        return []
    return [((option.base, option.option_type), sign)]


class NakedLegs:
    """Trades whose short options or futures have lacked their protection for a while."""

    def __init__(self) -> None:
        self._since_ns: dict[str, int] = {}

    def look(self, trades: Mapping[str, TradeUpdate], now_ns: int, known: Collection[str] = ()) -> dict[str, str]:
        """What to say of each, by trade. `known`: trades of which it is told already; they do not wait anew."""
        naked = {trade_id: quantity for trade_id, trade in trades.items() if (quantity := uncovered(trade)) > 0}
        self._since_ns = {trade_id: self._since_ns.get(trade_id, now_ns) for trade_id in naked}
        found = {}
        for trade_id, quantity in naked.items():
            if trade_id in known or now_ns - self._since_ns[trade_id] >= NAKED_AFTER_NS:
                trade = trades[trade_id]
                found[trade_id] = (
                    f"{quantity} of trade {trade_id} ({trade.strategy}, {trade.state}) lacks its protection"
                )
        return found


def expiring_shorts(account: AccountSnapshot | None, now_ns: int) -> dict[str, str]:
    """Symbols of short options that expire within 24 hours, each with what to say."""
    found = {}
    for position in () if account is None else account.positions:
        if position.quantity >= 0:
            continue
        try:
            left_ns = parse_option_symbol(position.symbol).expiry_ns - now_ns
        except SymbolError:
            continue
        if 0 < left_ns <= _DAY_NS:
            text = f"{position.quantity} {position.symbol} expires in {left_ns / (3_600 * SECOND):.1f} h"
            found[position.symbol] = text
    return found


def venue_trouble(matters: Iterable[Matter]) -> str:
    """What to say when at least two services cannot reach the venue; "" when that is not so."""
    open_now = [matter.record for matter in matters if matter.is_open and matter.record.code in _VENUE_TROUBLE]
    services = sorted({record.service for record in open_now})
    if len(services) < 2:
        return ""
    is_maintenance = any(sign in record.text for record in open_now for sign in _MAINTENANCE)
    what = "the venue is under maintenance" if is_maintenance else "the venue cannot be reached"
    return f"{what}: so say {', '.join(services)} ({open_now[0].text})"


def is_of_outage(record: AlertRecord, matters: Iterable[Matter]) -> bool:
    """Whether what has just begun is part of what the same service told of a moment ago and is still open: one outage
    ends the streams of every underlying, each of which is an alert."""
    return any(
        matter.is_open
        and matter.record.service == record.service
        and matter.record.code in _VENUE_TROUBLE
        and (matter.record.code, matter.record.subject) != (record.code, record.subject)
        and record.raised_ns - matter.first_ns <= _ONE_OUTAGE_NS
        for matter in matters
    )


class Flapping:
    """Reads that fail, recover and fail again: each alone is over soon, together they are a fault."""

    def __init__(self) -> None:
        self._begun_ns: dict[str, deque[int]] = {}
        self._known_until_ns: dict[str, int] | None = None

    def note(self, code: str, service: str, now_ns: int) -> None:
        """An alert of this service has just begun."""
        if code in _VENUE_TROUBLE:
            self._begun_ns.setdefault(service, deque(maxlen=100)).append(now_ns)

    def look(self, now_ns: int, known: Collection[str] = ()) -> dict[str, str]:
        """What to say of each service where it was too often in the last half hour.

        known: services of which it is told already. What was told before the first look lasts for half an hour: how
        often it was before is not known any more.
        """
        if self._known_until_ns is None:
            self._known_until_ns = dict.fromkeys(known, now_ns + _FLAP_WINDOW_NS)
        self._known_until_ns = {each: until for each, until in self._known_until_ns.items() if now_ns < until}
        found = {
            service: f"what {service} reads of the venue failed again and again" for service in self._known_until_ns
        }
        for service, begun in self._begun_ns.items():
            while begun and begun[0] <= now_ns - _FLAP_WINDOW_NS:
                begun.popleft()
            if len(begun) >= _FLAPS:
                found[service] = f"what {service} reads of the venue failed {len(begun)} times within half an hour"
        return found


class Held(msgspec.Struct, frozen=True):
    """What holds now, by subject with what to say; anything else that is open of this code is over."""

    code: str
    current: Mapping[str, str]
    over: str


class Findings:
    """Looks at all of it, once a second."""

    def __init__(self, rules: Mapping[str, FigureRule], *, account_id: str) -> None:
        self._account_id = account_id
        self._figures = FigureWatch(rules, account_id=account_id)
        self._naked = NakedLegs()
        self.orders = OrderOutcomes()
        self.flapping = Flapping()
        self.held: tuple[Held, ...] = ()

    def look(
        self,
        account: AccountSnapshot | None,
        trades: Mapping[str, TradeUpdate] | None,
        matters: Sequence[Matter],
        now_ns: int,
    ) -> list[Finding]:
        """What is to be told or is over; afterwards `held` has what else may have ended.

        trades: None while execution has not told all of them; then nothing that is seen from them begins or ends.
        """
        trouble = venue_trouble(matters)
        known = {(each.record.code, each.record.subject): each.record.severity for each in matters if each.is_open}
        flapping = self.flapping.look(now_ns, [subject for code, subject in known if code == "fetches_failing"])
        held = [
            Held("fetches_failing", flapping, "the venue is read again"),
            Held("venue_unreachable", {self._account_id: trouble} if trouble else {}, "the venue is reached again"),
        ]
        if trades is not None:
            naked = self._naked.look(trades, now_ns, {subject for code, subject in known if code == "naked_leg"})
            held.append(Held("naked_leg", naked, "covered again, or gone"))
        if account is not None:
            held.append(Held("short_expiring", expiring_shorts(account, now_ns), "not short any more, or expired"))
        self.held = tuple(held)
        told = [
            Finding(code=each.code, subject=subject, severity=severity_of(each.code), text=text)
            for each in held
            for subject, text in each.current.items()
            if (each.code, subject) not in known
        ]
        figures = figures_of(account, None if trades is None else trades.values(), self.orders, now_ns)
        return self._figures.look(figures, now_ns, known) + told
