"""What must agree when all is at rest: positions, fees and cash, intents and their outcomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import takewhile

from services.exchange import model as ex
from services.execution import rows
from services.execution.book import Book
from services.execution.records import Trade
from shared.bus.frames import Frame
from shared.messages.base import Message
from shared.messages.control import StrategyStatus
from shared.messages.steps import Entry
from shared.messages.trades import RETRYABLE_REFUSALS, OpenTrade, Refusal, TradeAccepted, TradeUpdate
from shared.messages.venue import VenueExercise
from world.bus import WorldBus
from world.faults import SECOND
from world.translation import fee_usd_of
from world.venue import Venue
from world.violations import Violation

ZERO = Decimal(0)
_AVERAGED = Decimal("1e-9")
_SHARED = Decimal("1e-6")
_ARRIVES_NS = 5 * SECOND
"""Without faults a reader sees by the next heartbeat that something is missing, and has it soon after."""


def ledger_violations(venue: Venue, book: Book) -> Iterator[Violation]:
    """Own fills, summed over trades, are the venue's positions, of which coins are none; fees agree to the last
    decimal."""
    nets: dict[str, Decimal] = {}
    for trade in book.trades.values():
        for leg in trade.legs:
            if leg.instrument.is_spot:
                continue
            nets[leg.symbol] = nets.get(leg.symbol, ZERO) + leg.sign * leg.held_quantity
    venue_nets = venue.own_positions()
    for symbol in sorted(nets.keys() | venue_nets.keys()):
        ours, theirs = nets.get(symbol, ZERO), venue_nets.get(symbol, ZERO)
        if ours != theirs:
            yield Violation("positions_equal", f"{symbol}: trades hold {ours}, the venue {theirs}")
    yield from _fees(venue, book)


def _fees(venue: Venue, book: Book) -> Iterator[Violation]:
    """Settlements of what others opened are left out: they have symbols of their own. A fee in coins counts by the
    price at which they were bought."""
    fees = sum((trade.fees_usd for trade in book.trades.values()), ZERO)
    fills = [fill for fill in venue.fills_of_trades() if fill.order_id not in venue.by_hand]
    settled = [one for one in venue.products.settlements() if one.symbol not in venue.foreign]
    venue_fees = sum((fee_usd_of(fill) for fill in fills), ZERO) + sum((one.fee_usd for one in settled), ZERO)
    if fees != venue_fees:
        yield Violation(
            "fees_equal", f"fees of trades {fees} are not the venue's {venue_fees}", _fees_differ(venue, book)
        )


def cash_violations(venue: Venue, book: Book, entries: Iterable[Entry]) -> Iterator[Violation]:
    """The venue's cash from its own records, and the part of it that the desk's trades made from the desk's.

    What somebody else closed of a trade is booked by the desk at mark, and is in neither sum. All is flat: what a
    future made is then what its fills and its delivery moved, but for the last digits of the venue's average price.
    Coins that were kept as a fee are booked by the desk at the price that was paid for them.
    """
    exchange, account_id = venue.exchange, venue.account_id
    fills = venue.fills_of_trades()
    settlements = venue.products.settlements()
    deposits = venue.config.accounts[0].initial_balance_usd
    deposits += sum((one.amount for one in exchange.transfers(account_id)), ZERO)
    cash = exchange.account_summary(account_id).cash
    traded, settled = _traded(fills), _settled(settlements)
    funding = sum((one.amount for one in venue.products.funding()), ZERO)
    coins = _traded(venue.cash.fills())
    if abs(cash - (deposits + traded + settled + funding + coins)) > (_AVERAGED if venue.products.futures else ZERO):
        parts = f"{deposits} + {traded} traded + {settled} settled + {funding} funding + {coins} for coins"
        yield Violation("cash_equal", f"cash {cash} is not {parts}")
    booked = -sum((trade.funding_usd for trade in book.trades.values()), ZERO)
    if booked != funding and not venue.foreign:
        text = f"trades received {booked} USD of funding, the account {funding}"
        funded = (trade for trade in book.trades.values() if any(leg.instrument.is_perpetual for leg in trade.legs))
        yield Violation("cash_equal", text, tuple(trade.trade_id for trade in funded))
    own_fills = [fill for fill in fills if fill.order_id not in venue.by_hand]
    kept = sum((fee_usd_of(fill) for fill in own_fills if fill.fee_coin != "USDT"), ZERO)
    own = _traded(own_fills) - kept
    own += _settled(one for one in settlements if one.symbol not in venue.foreign)
    explained = -sum((trade.fees_usd for trade in book.trades.values()), ZERO)
    for trade in book.trades.values():
        explained += sum((leg.sign * (leg.closed_cash - leg.opened_cash) for leg in trade.legs), ZERO)
    outside: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in entries:
        row = entry.row
        if isinstance(row, rows.LegClosedOutside) and row.venue_trade_id is None and row.price is not None:
            outside[row.trade_id] += book.trades[row.trade_id].legs[row.leg_index].sign * row.quantity * row.price
    explained -= sum(outside.values(), ZERO)
    if own != explained:
        text = f"the desk's trades made {explained} USD by its books, {own} at the venue"
        yield Violation("cash_equal", text, _cash_differs(venue, book, outside) or _fees_differ(venue, book))


def _fees_differ(venue: Venue, book: Book) -> tuple[str, ...]:
    return _differing(venue, book, fee_usd_of, lambda settled: settled.fee_usd, lambda trade: trade.fees_usd)


def _cash_differs(venue: Venue, book: Book, outside: Mapping[str, Decimal]) -> tuple[str, ...]:
    """Before fees. outside: what was booked, by trade, for what somebody else closed."""

    def booked(trade: Trade) -> Decimal:
        cash = sum((leg.sign * (leg.closed_cash - leg.opened_cash) for leg in trade.legs), ZERO)
        return cash - outside.get(trade.trade_id, ZERO)

    return _differing(
        venue,
        book,
        lambda fill: -fill.side.sign * fill.quantity * fill.price,
        lambda settled: settled.settlement_cash_flow_usd,
        booked,
    )


def _differing(
    venue: Venue,
    book: Book,
    of_fill: Callable[[ex.Fill], Decimal],
    of_settlement: Callable[[VenueExercise], Decimal],
    booked: Callable[[Trade], Decimal],
) -> tuple[str, ...]:
    """Trades that booked something else than their executions at the venue and their share of settlements sum to.
    Shares of a settlement are rounded, and judged less closely."""
    at_venue: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in venue.rfqs.named(venue.fills_of_trades(), book):
        order = None if fill.client_order_id is None else book.orders.get(fill.client_order_id)
        if order is not None and fill.order_id not in venue.by_hand:
            at_venue[order.trade_id] += of_fill(fill)
    trades = book.trades.values()
    for settled in venue.products.settlements():
        parts = [
            (trade.trade_id, leg.settled_quantity)
            for trade in trades
            for leg in trade.legs
            if leg.symbol == settled.symbol and leg.settled_quantity
        ]
        whole = sum((quantity for _, quantity in parts), ZERO)
        for trade_id, quantity in parts:
            at_venue[trade_id] += of_settlement(settled) * quantity / whole
    return tuple(
        trade.trade_id
        for trade in trades
        if abs(booked(trade) - at_venue[trade.trade_id])
        > (_SHARED if any(leg.settled_quantity for leg in trade.legs) else ZERO)
    )


def _traded(fills: Iterable[ex.Fill]) -> Decimal:
    """What executions moved in USDT: a fee that is taken in coins moves none."""
    cash = ZERO
    for fill in fills:
        fee = fill.fee if fill.fee_coin == "USDT" else ZERO
        cash -= fill.side.sign * fill.quantity * fill.price + fee
    return cash


def _settled(settlements: Iterable[VenueExercise]) -> Decimal:
    return sum((one.settlement_cash_flow_usd - one.fee_usd for one in settlements), ZERO)


def outcome_violations(
    entries: Iterable[Entry], answered: Iterable[tuple[OpenTrade, Message]]
) -> Iterator[Violation]:
    """One outcome per intent in the journal, and no answer to one that says otherwise.

    answered: every answer that execution gave to an intent, also those that were lost on the way.
    """
    outcomes: dict[str, str] = {}
    requests: set[str] = set()
    for entry in entries:
        row = entry.row
        match row:
            case rows.TradeRequested():
                intent_id, outcome = row.request.intent_id, row.trade_id
            case rows.IntentRefused():
                intent_id, outcome = row.intent_id, f"refused: {row.refusal.code}"
            case rows.RequestAnswered(request_id=request_id):
                if request_id in requests:
                    yield Violation("one_outcome", f"request {request_id} was carried out twice")
                requests.add(request_id)
                continue
            case _:
                continue
        if intent_id in outcomes:
            yield Violation("one_outcome", f"{intent_id} was {outcomes[intent_id]} and then {outcome}")
        outcomes.setdefault(intent_id, outcome)
    for intent, answer in answered:
        known = outcomes.get(intent.intent_id)
        match answer:
            case TradeAccepted(trade_id=trade_id):
                told = trade_id
            case Refusal(code=code) if code not in RETRYABLE_REFUSALS and known is not None:
                told = f"refused: {code}"
                if code == "intent_known":
                    continue
            case _:
                continue
        if told != known:
            yield Violation("one_outcome", f"{intent.intent_id} was told to be {told}, the journal says {known}")


def untrue_outcomes(entries: Iterable[Entry], venue: Venue) -> Iterator[Violation]:
    """Orders that were given up as refused or never placed and are in the venue's books all the same, or in a block
    trade of the quote of which they stand for a leg. One that arrived after its validity is the venue's mistake."""
    known = {
        order.client_order_id
        for order in (
            *venue.products.open_orders(),
            *venue.products.order_history(),
        )
    } - venue.expired
    executed = {str(block.block_id) for block in venue.exchange.rfq.blocks(venue.account_id)}
    for entry in entries:
        row = entry.row
        if isinstance(row, rows.OrderRequested) and row.quote_id in executed:
            known.add(row.client_order_id)
        given_up = isinstance(row, rows.OrderMoved) and row.state in ("REFUSED", "NEVER_PLACED")
        if given_up and row.client_order_id in known:
            yield Violation("outcome_true", f"order {row.client_order_id} counted as {row.state}, the venue had it")


def grant_violations(
    entries: Iterable[Entry], published: Iterable[Frame], book: Book, *, clock_holds: bool = True
) -> Iterator[Violation]:
    """What execution told of each trade's grant: open when an opening order went out, closed in the end.

    clock_holds: the clock of the machine was never set, so that times of rows and frames can be compared: without it
    only the end is judged.
    """
    told: dict[str, list[tuple[int, bool]]] = {}
    for frame in published:
        if isinstance(frame.message, TradeUpdate):
            update = frame.message
            told.setdefault(update.trade_id, []).append((frame.header.published_ns, update.grant_open))
    for entry in entries:
        row = entry.row
        opens = isinstance(row, rows.OrderRequested) and row.purpose == "open" and not row.adopted
        if clock_holds and opens and _told_closed(told.get(row.trade_id, []), entry.at_ns):
            yield Violation("grants_released", f"order {row.client_order_id} went out after its grant was let go")
    for trade in book.trades.values():
        updates = told.get(trade.trade_id, [])
        if updates and updates[-1][1] and trade.is_final:
            yield Violation("grants_released", f"{trade.trade_id} is {trade.state} and its grant still reserves room")


def _told_closed(told: Iterable[tuple[int, bool]], at_ns: int) -> bool:
    """Whether the grant was let go before this instant. Times are of processes whose clock may have been set back:
    what was told after the first later time came later."""
    before = list(takewhile(lambda one: one[0] < at_ns, told))
    return bool(before) and not before[-1][1]


def missed_events(bus: WorldBus, now_ns: int) -> Iterator[Violation]:
    """Events that a reader went on without."""
    yield from (Violation("events_arrive", text) for text in bus.missed(now_ns - _ARRIVES_NS))


def ignorance(latest: Iterable[Message], book: Book) -> Iterator[Violation]:
    """What strategies say that they have open, and what they have. `latest`: the newest message of each topic."""
    for status in latest:
        if isinstance(status, StrategyStatus):
            held = sum(trade.request.strategy == status.strategy for trade in book.active_trades())
            if status.open_trades != held:
                text = f"{status.strategy} says that it has {status.open_trades} open trades and has {held}"
                yield Violation("strategies_know", text)
