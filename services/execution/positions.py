"""The venue's positions, the second witness of what our trades hold: their marks, and where the two disagree."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from services.execution import rows
from services.execution.broken import if_broken
from services.execution.comparisons import ComparisonSchedule
from services.execution.direct import DirectFlattens
from services.execution.records import NOTHING_TO_REDUCE, ZERO, Leg, Trade
from services.execution.spot_checks import sellable
from services.execution.workspace import MS, Workspace
from shared.messages.reconciliation import BrokenStructure, Difference, ForeignPosition, QuantityMismatch
from shared.messages.venue import VenueFill, VenuePosition, VenueSnapshot
from shared.options.chain import snap_price, snap_quantity
from shared.options.instruments import instrument_kind

_FOREIGN_FILLS_KEPT = 1_000
_LOOK_AGAIN_NS = 10_000 * MS
"""How often a position that is missing is looked at until it is believed."""

_DOWN_NS = 600_000 * MS
"""How long at most the process before is taken to have been gone where the clock was set back meanwhile."""

_SETTLED_EARLY_NS = 60_000 * MS
"""By a clock that is behind the venue's, a settled position vanishes before its expiry: it was not closed outside."""


class _Suspect(msgspec.Struct):
    """A position that did not agree, seen for the first time at `asked_ns`."""

    expected: Decimal
    actual: Decimal
    asked_ns: int


class _Agreed(msgspec.Struct):
    """The venue held all that our trades do when it was asked at `asked_ns`, and beside it `beyond`, signed."""

    asked_ns: int
    beyond: Decimal


class PositionWitness:
    """Positions as the last comparison showed them. Volatile: what it learns for good becomes rows.

    `foreign`: by symbol, what the venue holds beyond our trades, signed. Of the last comparison: `unconfirmed`,
    symbols that disagreed and are looked at again; `undecided`, these and those where something of ours was at work.
    `direct`: what direct flattens did.
    """

    def __init__(self, work: Workspace, schedule: ComparisonSchedule) -> None:
        self._work = work
        self._schedule = schedule
        self.foreign: dict[str, Decimal] = {}
        self.unconfirmed: frozenset[str] = frozenset()
        self.undecided: frozenset[str] = frozenset()
        self._positions: dict[str, VenuePosition] = {}
        self._suspects: dict[str, _Suspect] = {}
        self._gaps: set[str] = set()
        """Symbols of which the venue shows too little, and nothing explains it."""

        self._foreign_fills: dict[int, VenueFill] = {}
        self._agreed: dict[str, _Agreed] = {}
        """When each symbol that our trades hold was last seen to hold all of it."""

        self._compared_before_ns: int | None = None
        """When the process before this one looked, as far as the journal knows; None until this one has."""

        self.direct = DirectFlattens(work)

    def cap(self, trade: Trade, leg: Leg) -> Decimal | None:
        """How much of the leg the venue's position still holds for this trade; None when it cannot say.

        It can say only when nothing of ours traded, or may have traded, in the symbol since the last comparison.
        Where nothing but its list of positions says that some is missing, and no other trade holds the symbol, it is
        not believed: a close is reduce-only, and the venue refuses what it has not.
        """
        if not self._schedule.looked_ns or not self._is_quiet(leg.symbol, self._schedule.looked_ns):
            return None
        position = self._positions.get(leg.symbol)
        held = ZERO if position is None else position.quantity * leg.sign
        claimed = ZERO
        for other in self._work.book.active_trades():
            if other.trade_id != trade.trade_id:
                claimed += sum(
                    (e.held_quantity for e in other.legs if e.symbol == leg.symbol and e.side == leg.side), ZERO
                )
        if leg.symbol in self._gaps and not claimed:
            return None
        return max(ZERO, held - claimed)

    def beside(self, symbol: str) -> Decimal:
        """What of the venue's position is no trade's, signed: as the last comparison showed it, confirmed or not; as
        it was known before where that says nothing, or shows less than our trades hold."""
        known = self.foreign.get(symbol, ZERO)
        if instrument_kind(symbol) == "spot" or not self._is_quiet(symbol, self._schedule.looked_ns):
            return known
        position = self._positions.get(symbol)
        shown, ours = ZERO if position is None else position.quantity, self._work.book.net_quantity(symbol)
        return known if _missing(ours, shown) else shown - ours

    def surplus(self, symbol: str, foreign: Decimal | None = None) -> Decimal | None:
        """What the venue's position showed beyond our trades and `foreign`, signed; None when that says nothing, as
        something of ours traded in the symbol since. An order that is not known counts as none.

        foreign: what of it is no trade's, signed; None for what is known as that now, which after a restart is
        nothing as long as an order of ours is not settled. More coins of spot than our trades hold are none.
        """
        if (
            self._schedule.looked_ns
            <= self._work.last_traded_ns.get(symbol, 0) + self._work.config.settled_view_ms * MS
        ):
            return None
        position = self._positions.get(symbol)
        shown = ZERO if position is None else position.quantity
        known = self.foreign.get(symbol, ZERO) if foreign is None else foreign
        beyond = shown - self._work.book.net_quantity(symbol) - known
        return min(beyond, ZERO) if instrument_kind(symbol) == "spot" else beyond

    def mark(self, symbol: str) -> float | None:
        """The venue's mark of a position, if it is fresh."""
        position = self._positions.get(symbol)
        tolerance_ns = self._work.config.market_tolerance_ms * MS
        if position is None or self._work.now_ns - self._schedule.looked_ns > tolerance_ns:
            return None
        return position.mark

    def average_price(self, symbol: str) -> Decimal | None:
        """The venue's average price of a position, USD per unit."""
        position = self._positions.get(symbol)
        return None if position is None else position.average_price

    def adopted(self, symbol: str, quantity: Decimal) -> None:
        """A trade holds `quantity`, signed, of what was foreign."""
        left = self.foreign.pop(symbol) - quantity
        if agreed := self._agreed.get(symbol):
            agreed.beyond -= quantity
        self._suspects.pop(symbol, None)
        if left:
            self.foreign[symbol] = left
        else:
            self._work.resolve("foreign_position", symbol, f"{symbol}: what the venue holds is a trade now")
        name = f"foreign_position/{symbol}"
        found = self._work.book.differences.get(name)
        if found is not None and found.stands:
            self._work.record(rows.DifferencesEnded(names=(name,)))

    def is_suspect(self, symbol: str) -> bool:
        """True while the venue's position was seen once to disagree with our trades, and not yet again."""
        return symbol in self._suspects and symbol not in self.foreign

    def compare(self, snapshot: VenueSnapshot) -> list[Difference]:
        """Take the positions of a snapshot and tell where they disagree with our trades; fills were taken before.

        Of spot the account's coins stand for the position. Those beyond our trades are the account's own; only that
        there are fewer is a disagreement.
        """
        self._positions = {position.symbol: position for position in snapshot.positions}
        self._positions |= {pair: _coins(pair, quantity) for pair, quantity in snapshot.coins.items()}
        self._keep_foreign(snapshot.fills)
        work = self._work
        if self._compared_before_ns is None:
            before_ns = work.book.compared_ns
            # By a clock that was set back since, it says nothing: an execution of the last day explains no gap then.
            self._compared_before_ns = before_ns if before_ns <= work.now_ns else work.now_ns - _DOWN_NS
        expected: dict[str, Decimal] = {}
        expired: set[str] = set()
        unknown_fees: dict[str, Decimal] = {}
        lots: dict[str, Decimal] = {}
        for trade in work.book.active_trades():
            for leg in trade.legs:
                expected[leg.symbol] = expected.get(leg.symbol, ZERO) + leg.sign * leg.held_quantity
                if leg.instrument.expiry_ns <= work.now_ns + _SETTLED_EARLY_NS:
                    expired.add(leg.symbol)
                if leg.instrument.is_spot:
                    kept = leg.held_quantity - sellable(trade, leg, work)
                    unknown_fees[leg.symbol] = unknown_fees.get(leg.symbol, ZERO) + kept
                    lots[leg.symbol] = leg.instrument.lot_size
        differences: list[Difference] = []
        unconfirmed: set[str] = set()
        on_the_way: set[str] = set()
        for symbol in sorted((expected.keys() | self._positions.keys() | self._suspects.keys()) - expired):
            ours = expected.get(symbol, ZERO)
            position = self._positions.get(symbol)
            actual = ZERO if position is None else position.quantity
            if instrument_kind(symbol) == "spot":
                if symbol not in expected:
                    self._suspects.pop(symbol, None)
                    self._gap_is_over(symbol, "no trade holds it any more")
                    continue
                if position is None:
                    on_the_way.add(symbol)
                    continue
                # What the venue may have kept as a fee that it has not told is not missing. Parts of a lot are the
                # account's: a trade that held some could not sell them.
                actual = ours if actual >= ours - unknown_fees[symbol] else snap_quantity(actual, lots[symbol])
            if not self._is_quiet(symbol, snapshot.asked_ns):
                on_the_way.add(symbol)
                if actual != ours and self.foreign.get(symbol, ZERO) != actual - ours:
                    self._schedule.want("confirm", work.now_ns + work.config.confirm_ms * MS)
                continue
            if not _missing(ours, actual):
                self._agreed[symbol] = _Agreed(snapshot.asked_ns, actual - ours)
            if actual == ours:
                self._suspects.pop(symbol, None)
                self.foreign.pop(symbol, None)
                self._gap_is_over(symbol, "the venue and the journal agree")
                work.resolve("foreign_position", symbol, f"{symbol}: the venue and the journal agree")
                continue
            told = self._disagreement(symbol, ours, actual, snapshot.asked_ns)
            differences += told
            if not told:
                unconfirmed.add(symbol)
        self._agreed = {symbol: agreed for symbol, agreed in self._agreed.items() if symbol in expected}
        for symbol in expired:
            self._suspects.pop(symbol, None)
            self._gap_is_over(symbol, "it has expired")
            if self.foreign.pop(symbol, None) is not None:
                work.resolve("foreign_position", symbol, f"{symbol} has expired")
        self.unconfirmed = frozenset(unconfirmed)
        self.undecided = frozenset(unconfirmed | on_the_way)
        return differences

    def _is_quiet(self, symbol: str, asked_ns: int) -> bool:
        """True when the positions asked for at `asked_ns` contain all that we did in the symbol."""
        work = self._work
        unsettled = (work.book.orders[number] for number in work.book.unsettled)
        # A stop order may wait for weeks, and trades only once it is seen to be triggered.
        if any(order.symbol == symbol and not (order.state == "WORKING" and order.is_waiting) for order in unsettled):
            return False
        return asked_ns > work.last_traded_ns.get(symbol, 0) + work.config.settled_view_ms * MS

    def _disagreement(self, symbol: str, ours: Decimal, actual: Decimal, asked_ns: int) -> list[Difference]:
        """A position that disagrees counts when a second look, some time later, says the same.

        One that is missing and that no execution explains may be a gap in what the venue shows: to believe it would
        close what is left of the trade and leave the leg naked once it is shown again. It must be missing as long as
        an order.
        """
        work = self._work
        confirm_ns = work.config.confirm_ms * MS
        suspect = self._suspects.get(symbol)
        if suspect is None or (suspect.expected, suspect.actual) != (ours, actual):
            self._suspects[symbol] = _Suspect(ours, actual, asked_ns)
            self._schedule.want("confirm", work.now_ns + confirm_ns)
            return []
        if asked_ns < suspect.asked_ns + confirm_ns:
            self._schedule.want("confirm", suspect.asked_ns + confirm_ns)
            return []
        sign = 1 if ours > 0 else -1
        missing = _missing(ours, actual)
        believed_ns = suspect.asked_ns + work.config.vanished_after_ms * MS
        if missing > 0 and asked_ns < believed_ns and not self._is_explained(symbol, sign, missing):
            self._schedule.want("confirm", min(believed_ns, work.now_ns + _LOOK_AGAIN_NS))
            wait_s = work.config.vanished_after_ms / 1e3
            text = f"the venue shows {actual}, our trades hold {ours}, and no execution explains it"
            self._gaps.add(symbol)
            work.alert("position_missing", "critical", symbol, f"{symbol}: {text}; believed after {wait_s:g} s of it")
            return []
        held = ours - sign * missing
        foreign = actual - held
        differences: list[Difference] = []
        if missing > 0:
            differences += self._gone_from_outside(symbol, sign, missing, ours, actual)
            self._suspects.pop(symbol, None)
            self._gap_is_over(symbol, "it is gone, and booked as closed from outside")
        if foreign:
            self.foreign[symbol] = foreign
            detail = f"the venue holds {actual}, our trades hold {ours}"
            work.alert("foreign_position", "warning", symbol, f"{symbol}: {detail}; the desk does not touch the rest")
            differences.append(
                ForeignPosition(
                    symbol=symbol,
                    done="left_alone",
                    detail=f"{foreign} at {self._positions[symbol].average_price} on average belongs to no trade",
                    quantity=foreign,
                    held_quantity=held,
                    average_price=self._positions[symbol].average_price,
                )
            )
        else:
            self.foreign.pop(symbol, None)
        return differences

    def _gap_is_over(self, symbol: str, why: str) -> None:
        self._gaps.discard(symbol)
        self._work.resolve("position_missing", symbol, f"{symbol}: {why}")

    def _keep_foreign(self, fills: Iterable[VenueFill]) -> None:
        """Remember the executions that are of no order of ours: a later snapshot may begin after them."""
        known = self._work.book.fills
        for fill in fills:
            if fill.venue_trade_id not in known:
                self._foreign_fills[fill.venue_trade_id] = fill
        while len(self._foreign_fills) > _FOREIGN_FILLS_KEPT:
            del self._foreign_fills[next(iter(self._foreign_fills))]

    def _is_explained(self, symbol: str, sign: int, missing: Decimal) -> bool:
        """Whether executions that are none of ours, since the position was last right, closed so much of it. What was
        held by hand beside it went first."""
        agreed = self._agreed.get(symbol) or self._agreed_before(symbol)
        since_ns = agreed.asked_ns - self._work.config.settled_view_ms * MS
        closed = sum(
            (
                fill.quantity
                for fill in self._foreign_fills.values()
                if fill.symbol == symbol
                and (fill.side == "sell") == (sign > 0)
                and fill.venue_ns >= since_ns
                and fill.venue_trade_id not in self._work.book.fills
            ),
            ZERO,
        )
        beside = max(ZERO, agreed.beyond * sign)
        return closed >= missing + beside or self._nothing_to_reduce(symbol, since_ns)

    def _agreed_before(self, symbol: str) -> _Agreed:
        """What the process before this one knew: what was executed before it looked is in what it knew, and only what
        was since can have closed something of ours."""
        found = self._work.book.differences.get(f"foreign_position/{symbol}")
        known = found.difference if found is not None and found.stands else None
        beyond = known.quantity if isinstance(known, ForeignPosition) else ZERO
        return _Agreed(self._compared_before_ns or 0, beyond)

    def _nothing_to_reduce(self, symbol: str, since_ns: int) -> bool:
        """Whether the venue refused an order of ours since then, as there was nothing that it could reduce."""
        return any(
            order.symbol == symbol and order.refusal_code == NOTHING_TO_REDUCE and order.state_ns >= since_ns
            for order in self._work.book.orders.values()
        )

    def _gone_from_outside(
        self, symbol: str, sign: int, missing: Decimal, ours: Decimal, actual: Decimal
    ) -> list[Difference]:
        """The venue holds less than our trades: a direct flatten or somebody else closed it. The newest trade loses
        first."""
        work = self._work
        differences: list[Difference] = []
        concerned: dict[str, Trade] = {}
        for trade in sorted(work.book.active_trades(), key=lambda trade: trade.number, reverse=True):
            for index, leg in enumerate(trade.legs):
                lost = min(leg.held_quantity, missing)
                if leg.symbol != symbol or leg.sign != sign or lost <= 0:
                    continue
                missing -= lost
                flattened = self.direct.close(trade, index, lost)
                if flattened:
                    differences.append(
                        QuantityMismatch(
                            symbol=symbol,
                            done="booked",
                            detail=f"a direct flatten closed {flattened} at the venue",
                            trade_id=trade.trade_id,
                            quantity=flattened,
                            held_quantity=ours,
                            venue_quantity=actual,
                            price=None,
                        )
                    )
                lost -= flattened
                if not lost and trade.close is not None and trade.close.purpose == "flatten":
                    continue  # what is left of it is being flattened
                concerned[trade.trade_id] = trade
                if not lost:
                    continue
                detail = f"the venue holds {actual}, our trades hold {ours}, and no order of ours closed it"
                quote = work.market.quote(leg.instrument, work.now_ns)
                tick = leg.instrument.tick_size
                price = None if quote is None or quote.mark is None else snap_price(quote.mark, tick, up=sign < 0)
                work.record(
                    rows.LegClosedOutside(
                        trade_id=trade.trade_id, leg_index=index, quantity=lost, price=price, reason=detail
                    )
                )
                work.alert(
                    "leg_closed_outside",
                    "critical",
                    f"{trade.trade_id}/{symbol}",
                    f"{trade.trade_id}, {symbol}: {detail}",
                    stage=f"{leg.held_quantity} held",
                )
                differences.append(
                    QuantityMismatch(
                        symbol=symbol,
                        done="booked",
                        detail=detail,
                        trade_id=trade.trade_id,
                        quantity=lost,
                        held_quantity=ours,
                        venue_quantity=actual,
                        price=price,
                    )
                )
        return differences + [self._broken(trade, symbol) for trade in concerned.values() if not trade.is_flat]

    def _broken(self, trade: Trade, symbol: str) -> BrokenStructure:
        """What a trade is that lost of `symbol` and holds something else."""
        closes = trade.close is not None or if_broken(trade, self._work.config) == "close"
        left = ", ".join(f"{leg.held_quantity} {leg.symbol}" for leg in trade.legs if leg.held_quantity > 0)
        return BrokenStructure(
            symbol=symbol,
            done="closing" if closes else "waiting",
            detail=f"{trade.trade_id} lost {symbol} from outside and still holds {left}",
            trade_id=trade.trade_id,
        )


def _missing(ours: Decimal, actual: Decimal) -> Decimal:
    """How much of what our trades hold the venue lacks, >= 0."""
    if not ours:
        return ZERO
    return max(ZERO, abs(ours) - max(ZERO, actual if ours > 0 else -actual))


def _coins(pair: str, quantity: Decimal) -> VenuePosition:
    return VenuePosition(symbol=pair, quantity=quantity, average_price=ZERO, mark=None, unrealized_pnl_usd=None)
