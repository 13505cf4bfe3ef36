"""Every promise can be seen to be broken: a run that keeps all of them, with one thing made wrong."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, cast, get_args

import msgspec
import pytest

from services.exchange import model as ex
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.records import Trade
from services.execution.rows import CloseRequested, HaltRaised, OrderMoved, OrderRequested, TradeMoved, TradeRequested
from services.risk.config import RiskConfig
from services.risk.rows import BreakerMoved, GrantIssued, MarginLevelMoved
from services.strategy.rows import RollBegun, RollOpening
from shared.messages.control import StrategyStatus
from shared.messages.steps import Entry
from shared.messages.trades import IntentRefused, LegOrder, TradeAccepted, TradeUpdate
from shared.messages.venue import VenueSnapshot
from shared.runner import CoreFailed
from shared.strategy.protocol import OpenStructure
from tests.simulation.test_bad_days import come_to_rest
from tests.simulation.test_cash_rule import (
    a_minimum_that_is_not_there,
    a_sale_that_sold_more,
    a_sale_without_a_row,
    a_smaller_cap,
)
from tests.simulation.test_covered_coins import (
    a_coin_of_unknown_origin,
    a_larger_fee_in_coins,
    a_sale_that_sold_less,
)
from tests.simulation.test_leverage import (
    a_change_asked_twice,
    a_change_that_nobody_was_told_of,
    a_change_that_was_not_made,
)
from tests.simulation.test_moving_groups import (
    a_host_that_closes_anothers_trade,
    a_strategy_without_a_host,
    an_opening_after_a_pause,
)
from tests.simulation.test_world import calm_desk, open_trades, run_until
from world.audit import Witness, decision_violations, flip_violations, silent_changes
from world.desk import DESK_NUMBER, Desk
from world.faults import SECOND
from world.guard_audit import breaker_violations, margin_violations, refusal_violations, transfer_violations
from world.invariants import (
    countdown_violations,
    fold_violations,
    liveness_violations,
    naked_leg_violations,
    safety_violations,
)
from world.ledger import (
    cash_violations,
    grant_violations,
    ignorance,
    ledger_violations,
    missed_events,
    outcome_violations,
    untrue_outcomes,
)
from world.products import Products
from world.roll_audit import chain_violations, net_limit_violations, succession_violations, undecided_rolls
from world.simulate import failures, simulate, violations_at_rest
from world.story import folded, stories
from world.venue import Venue
from world.violations import PROMISES, Invariant, Violation

pytestmark = pytest.mark.simulation
CONFIG = ExecutionConfig()


@pytest.fixture(scope="module")
def desk() -> Desk:
    """A calm desk at rest, in which single trades, two on one symbol and a condor were opened and closed."""
    made = calm_desk()
    run_until(made, lambda: open_trades(made, "condor"))
    run_until(made, lambda: sum(trade.state == "CLOSED" for trade in made.book.trades.values()) >= 3, limit_s=300)
    come_to_rest(made)
    return made


def entries(desk: Desk) -> list[Entry]:
    return list(desk.nodes["execution"].journal.entries)


def book_of(desk: Desk) -> Book:
    """A copy to be broken."""
    return copy.deepcopy(desk.book)


def venue_of(desk: Desk, **changed: Any) -> Venue:
    """The venue with some of what it remembers replaced."""
    venue = copy.copy(desk.venue)
    for name, value in changed.items():
        assert hasattr(venue, name), name
        setattr(venue, name, value)
    return venue


def first_trade(book: Book) -> Trade:
    return next(trade for trade in book.trades.values() if trade.state == "CLOSED")


def place_of(rows: list[Entry], wanted: Callable[[Any], bool]) -> int:
    return next(number for number, entry in enumerate(rows) if wanted(entry.row))


def judged(desk: Desk, rows: list[Entry], witness: Witness | None = None) -> list[Violation]:
    return list(decision_violations(rows, CONFIG, witness or desk.witness))


def with_row(desk: Desk, wanted: Callable[[Any], bool], change: Callable[[Any], Any]) -> list[Entry]:
    """The journal up to the first row that is wanted, which is changed."""
    rows = entries(desk)
    place = place_of(rows, wanted)
    rows[place] = msgspec.structs.replace(rows[place], row=change(rows[place].row))
    return rows[: place + 1]


def is_order(purpose: str) -> Callable[[Any], bool]:
    return lambda row: isinstance(row, OrderRequested) and row.purpose == purpose


def is_move(state: str) -> Callable[[Any], bool]:
    return lambda row: isinstance(row, TradeMoved) and row.state == state


def sent_twice(desk: Desk) -> Iterable[Violation]:
    number = next(iter(desk.venue.sent))
    return safety_violations(venue_of(desk, sent=Counter({number: 2})), desk.book, DESK_NUMBER)


def priced_past_the_grant(desk: Desk) -> Iterable[Violation]:
    order = desk.venue.opening_orders[0]
    worse = Decimal(10_000) if order.side == "buy" else Decimal("0.1")
    orders = [msgspec.structs.replace(order, price=worse)]
    return safety_violations(venue_of(desk, opening_orders=orders), desk.book, DESK_NUMBER)


def two_trades_of_one_intent(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    one, other = list(book.trades.values())[:2]
    other.request = msgspec.structs.replace(other.request, intent_id=one.request.intent_id)
    return safety_violations(desk.venue, book, DESK_NUMBER)


def a_smaller_grant(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    trade = first_trade(book)
    legs = tuple(msgspec.structs.replace(leg, max_quantity=Decimal("0.01")) for leg in trade.request.grant.legs)
    trade.request = msgspec.structs.replace(
        trade.request, grant=msgspec.structs.replace(trade.request.grant, legs=legs)
    )
    return safety_violations(desk.venue, book, DESK_NUMBER)


def a_close_that_is_not_reduce_only(desk: Desk) -> Iterable[Violation]:
    number = next(order.client_order_id for order in desk.book.orders.values() if order.purpose == "close")
    order = msgspec.structs.replace(desk.venue.opening_orders[0], client_order_id=number)
    return safety_violations(venue_of(desk, opening_orders=[order]), desk.book, DESK_NUMBER)


def only_short_fills(desk: Desk) -> Iterable[Violation]:
    fills = [fill for fill in desk.venue.exchange.fills(desk.venue.account_id) if fill.side is ex.Side.SELL]
    return naked_leg_violations(fills, desk.book, DESK_NUMBER)


def a_doubled_close(desk: Desk) -> Iterable[Violation]:
    fills = list(desk.venue.exchange.fills(desk.venue.account_id))
    return flip_violations([*fills, msgspec.structs.replace(fills[-1], fill_id=fills[-1].fill_id + 1)], DESK_NUMBER)


def an_older_grant(desk: Desk) -> Iterable[Violation]:
    rows = entries(desk)
    place = place_of(rows, lambda row: isinstance(row, TradeRequested))
    request = rows[place].row.request
    grant = msgspec.structs.replace(request.grant, deadline_ns=rows[place].at_ns - SECOND)
    row = msgspec.structs.replace(rows[place].row, request=msgspec.structs.replace(request, grant=grant))
    rows[place] = msgspec.structs.replace(rows[place], row=row)
    return judged(desk, rows)


def an_opening_under_a_halt(desk: Desk) -> Iterable[Violation]:
    rows = entries(desk)
    place = place_of(rows, is_order("open"))
    halt = Entry(rows[place].at_ns, "", HaltRaised(level="no_new_trades", reason="drill", raised_by="operator"))
    return judged(desk, [*rows[:place], halt, rows[place]])


def a_deaf_witness(desk: Desk) -> Iterable[Violation]:
    deaf = Witness()
    deaf.on_start(desk.engine.now_ns - 10_000 * SECOND)
    return judged(desk, entries(desk), deaf)


def a_double_close_order(desk: Desk) -> Iterable[Violation]:
    return judged(
        desk, with_row(desk, is_order("close"), lambda row: msgspec.structs.replace(row, quantity=row.quantity * 2))
    )


def a_surplus_that_there_is_not(desk: Desk) -> Iterable[Violation]:
    return judged(desk, with_row(desk, is_order("close"), lambda row: msgspec.structs.replace(row, purpose="unwind")))


def a_close_of_what_another_holds(desk: Desk) -> Iterable[Violation]:
    """The last look at the venue before the first close showed nothing."""
    rows = entries(desk)
    at_ns = rows[place_of(rows, is_order("close"))].at_ns
    blind = Witness()
    blind.on_start(at_ns - SECOND)
    empty = VenueSnapshot(
        trigger="drill", asked_ns=at_ns - 1, since_ns=0, orders=(), fills=(), positions=(), exercises=()
    )
    blind.on_batch([empty], at_ns - 1)
    return judged(desk, rows, blind)


def tighter_limits(desk: Desk) -> Iterable[Violation]:
    return decision_violations(entries(desk), CONFIG, desk.witness, RiskConfig(max_open_trades=1))


def opposite_sides(desk: Desk) -> Iterable[Violation]:
    def sold(row: Any) -> Any:
        legs = tuple(msgspec.structs.replace(leg, side="sell") for leg in row.request.legs)
        return msgspec.structs.replace(row, request=msgspec.structs.replace(row.request, legs=legs))

    rows = entries(desk)
    place = place_of(rows, lambda row: isinstance(row, TradeRequested) and row.request.strategy == "beta")
    rows[place] = msgspec.structs.replace(rows[place], row=sold(rows[place].row))
    return judged(desk, rows)


def a_silent_change(desk: Desk) -> Iterable[Violation]:
    told = [
        msgspec.structs.replace(frame, message=msgspec.structs.replace(frame.message, reason=""))
        if isinstance(frame.message, TradeUpdate)
        else frame
        for frame in desk.bus.published
    ]
    return silent_changes(told)


def given_up_at_once(desk: Desk) -> Iterable[Violation]:
    """Instead of OPEN it gives up, at the instant at which its last order ended."""
    return judged(desk, with_row(desk, is_move("OPEN"), lambda row: msgspec.structs.replace(row, state="UNWINDING")))


def open_too_early(desk: Desk) -> Iterable[Violation]:
    """It says OPEN where it says OPENING."""
    rows = entries(desk)
    place = place_of(rows, is_move("OPENING"))
    too_early = msgspec.structs.replace(rows[place].row, state="OPEN", reason="too early")
    return judged(desk, [*rows[: place + 1], Entry(rows[place].at_ns + 1, "", too_early)])


def a_deadline_that_passes(desk: Desk) -> Iterable[Violation]:
    """The first trade has a hard deadline a second after its opening, and nothing happens at it."""

    def hurried(row: Any) -> Any:
        deadline_ns = rows[place].at_ns + SECOND
        return msgspec.structs.replace(
            row, request=msgspec.structs.replace(row.request, hard_deadline_ns=deadline_ns)
        )

    rows = entries(desk)
    place = place_of(rows, lambda row: isinstance(row, TradeRequested))
    rows[place] = msgspec.structs.replace(rows[place], row=hurried(rows[place].row))
    return judged(desk, rows)


def a_trade_still_open(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    first_trade(book).state = "OPEN"
    return liveness_violations(desk.venue, book)


def an_order_without_outcome(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    next(iter(book.orders.values())).state = "UNKNOWN"
    return liveness_violations(desk.venue, book)


def a_countdown_that_nobody_set_anew(desk: Desk) -> Iterable[Violation]:
    venue = venue_of(desk, fired_ns={"BTCUSD": desk.engine.now_ns}, countdown_asks=[])
    return countdown_violations(venue, desk.nodes["execution"], lasts_ns=15 * SECOND)


def a_position_left(desk: Desk) -> Iterable[Violation]:
    venue = _with_exchange(desk, "positions", lambda real: [*real, _position(desk)])
    return liveness_violations(venue, desk.book)


def an_order_left(desk: Desk) -> Iterable[Violation]:
    order = desk.venue.exchange.order_history(desk.venue.account_id)[0]
    return liveness_violations(_with_exchange(desk, "open_orders", lambda real: [*real, order]), desk.book)


def nothing_traded(desk: Desk) -> Iterable[Violation]:
    return liveness_violations(desk.venue, Book.empty(CONFIG))


def a_fill_lost(desk: Desk) -> Iterable[Violation]:
    venue = _with_exchange(desk, "fills", lambda real: list(real)[1:])
    return liveness_violations(venue, desk.book)


def a_position_more(desk: Desk) -> Iterable[Violation]:
    return ledger_violations(_with_exchange(desk, "positions", lambda real: [*real, _position(desk)]), desk.book)


def a_fee_dropped(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    first_trade(book).fees_usd -= Decimal("0.000000000001")
    return ledger_violations(desk.venue, book)


def a_price_booked_wrongly(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    first_trade(book).legs[0].closed_cash += Decimal("0.000000000001")
    return cash_violations(desk.venue, book, entries(desk))


def two_outcomes(desk: Desk) -> Iterable[Violation]:
    answered = [
        (intent, msgspec.structs.replace(answer, trade_id="T-other") if isinstance(answer, TradeAccepted) else answer)
        for intent, answer in desk.bus.answered
    ]
    return outcome_violations(entries(desk), answered)


def a_grant_kept(desk: Desk) -> Iterable[Violation]:
    told = [
        msgspec.structs.replace(frame, message=msgspec.structs.replace(frame.message, grant_open=True))
        if isinstance(frame.message, TradeUpdate)
        else frame
        for frame in desk.bus.published
    ]
    return grant_violations(entries(desk), told, desk.book)


def a_refusal_that_was_none(desk: Desk) -> Iterable[Violation]:
    number = next(iter(desk.book.orders))
    refused = OrderMoved(client_order_id=number, state="REFUSED", reason="drill")
    return untrue_outcomes([Entry(desk.engine.now_ns, "", refused)], desk.venue)


def a_strategy_that_missed_an_end(desk: Desk) -> Iterable[Violation]:
    status = next(one for one in desk.bus.latest.values() if isinstance(one, StrategyStatus))
    return ignorance([msgspec.structs.replace(status, open_trades=1)], desk.book)


def an_event_that_never_arrived(desk: Desk) -> Iterable[Violation]:
    bus, link = copy.copy(desk.bus), ("strategy", "execution")
    subscription = copy.copy(bus._subscriptions[link])
    subscription.handed = dict(list(subscription.handed.items())[1:])
    bus._subscriptions = {**bus._subscriptions, link: subscription}
    return missed_events(bus, desk.engine.now_ns)


def another_fold(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    book.halt_epoch += 1
    return fold_violations(desk.nodes["execution"], desk.fold(), book)


def a_core_that_raised(desk: Desk) -> Iterable[Violation]:
    node = copy.copy(desk.nodes["risk"])
    node.failures = [CoreFailed("an input", ValueError("drill"))]
    return failures([node])


def a_rest_closed_that_was_to_stay(desk: Desk) -> Iterable[Violation]:
    rows = entries(desk)
    rows = rows[: place_of(rows, is_order("close")) + 1]
    trade_id = rows[-1].row.trade_id
    changed: list[Entry] = []
    for entry in rows:
        row = entry.row
        if getattr(row, "trade_id", None) != trade_id:
            changed.append(entry)
        elif isinstance(row, TradeRequested):
            request = msgspec.structs.replace(row.request, if_broken="hold")
            changed.append(Entry(entry.at_ns, "", msgspec.structs.replace(row, request=request)))
        elif isinstance(row, TradeMoved) and row.state == "CLOSING":
            changed.append(Entry(entry.at_ns, "", msgspec.structs.replace(row, state="BROKEN")))
        elif not isinstance(row, CloseRequested) and not (isinstance(row, TradeMoved) and "CLOSE" in row.state):
            changed.append(entry)
    return judged(desk, changed)


def risk_rows(desk: Desk) -> list[Entry]:
    return list(desk.nodes["risk"].journal.entries)


def beside_a_grant(desk: Desk, *before: Any, after: Any = None) -> list[Entry]:
    """Risk's journal with something written before its first grant, and after it."""
    rows = risk_rows(desk)
    place = place_of(rows, lambda row: isinstance(row, GrantIssued))
    at_ns = rows[place].at_ns
    added = [] if after is None else [Entry(at_ns, "", after)]
    return [*rows[:place], *(Entry(at_ns, "", row) for row in before), rows[place], *added, *rows[place + 1 :]]


def a_grant_under_an_open_breaker(desk: Desk) -> Iterable[Violation]:
    opened = BreakerMoved(name="slippage", subject="", state="open", reason="drill")
    rows = beside_a_grant(desk, opened)
    return breaker_violations(rows, desk.bus.published, desk.risk_config, clock_holds=True)


def a_grant_under_a_margin_level(desk: Desk) -> Iterable[Violation]:
    moved = MarginLevelMoved(level="no_new_trades", utilisation_pct=70.0)
    return margin_violations(beside_a_grant(desk, moved), desk.risk_config)


def a_deposit_in_the_peak(desk: Desk) -> Iterable[Violation]:
    """It came in before the first read and went out half way: the peak of then is no longer one."""
    half = len(desk.account_reads) // 2
    reads = {
        at_ns: msgspec.structs.replace(read, paid_usd=Decimal(5_000 if number < half else 0))
        for number, (at_ns, read) in enumerate(desk.account_reads.items())
    }
    return transfer_violations(risk_rows(desk), desk.bus.accounts, reads, desk.risk_config)


def a_refused_intent_with_a_trade(desk: Desk) -> Iterable[Violation]:
    intent_id = first_trade(desk.book).request.intent_id
    told = IntentRefused(intent_id=intent_id, account_id="sim", code="halted", detail="", at_ns=0)
    frames = [msgspec.structs.replace(desk.bus.published[0], message=told)]
    return refusal_violations(frames, [intent_id])


def two_successors(desk: Desk) -> Iterable[Violation]:
    rows = entries(desk)
    first = place_of(rows, lambda row: isinstance(row, TradeRequested))
    earlier = rows[first].row.trade_id

    def rolled(entry: Entry) -> Entry:
        if not isinstance(entry.row, TradeRequested) or entry.row.trade_id == earlier:
            return entry
        request = msgspec.structs.replace(entry.row.request, rolled_from=earlier)
        return msgspec.structs.replace(entry, row=msgspec.structs.replace(entry.row, request=request))

    return succession_violations(map(rolled, rows))


def roll_begun(desk: Desk, trade: Trade) -> Entry:
    legs = tuple(LegOrder(symbol=leg.symbol, side=leg.side, quantity=leg.quantity) for leg in trade.legs)
    row = RollBegun(
        strategy="rolls",
        trade_id=trade.trade_id,
        ordinal=1,
        structure=OpenStructure(legs=legs),
        net_limit_usd=-1e9,
        grant=trade.request.grant,
        reason="due",
        open_by_ns=0,
        made_ns=0,
        decision_prices=(),
    )
    return Entry(0, "", row)


def past_the_net_limit(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    one, other = [trade for trade in book.trades.values() if trade.state == "CLOSED"][:2]
    one.rolled_to = other.trade_id
    opening = RollOpening(strategy="rolls", trade_id=one.trade_id, close_cost_usd=Decimal(0), price_limits=())
    return net_limit_violations(book, [roll_begun(desk, one), Entry(0, "", opening)])


def a_chain_that_was_not_told(desk: Desk) -> Iterable[Violation]:
    book = book_of(desk)
    one, other = [trade for trade in book.trades.values() if trade.state == "CLOSED"][:2]
    other.request = msgspec.structs.replace(other.request, rolled_from=one.trade_id)
    return chain_violations(book, desk.venue.account_id)


def a_roll_without_an_end(desk: Desk) -> Iterable[Violation]:
    return undecided_rolls([roll_begun(desk, first_trade(desk.book))])


WAYS: dict[Invariant, Callable[[Desk], Iterable[Violation]]] = {
    "sent_once": sent_twice,
    "inside_grant": priced_past_the_grant,
    "one_trade_per_intent": two_trades_of_one_intent,
    "not_overfilled": a_smaller_grant,
    "closes_reduce_only": a_close_that_is_not_reduce_only,
    "protected_short": only_short_fills,
    "no_flip": a_doubled_close,
    "grant_in_time": an_older_grant,
    "no_opening_under_halt": an_opening_under_a_halt,
    "risk_heard": a_deaf_witness,
    "looks_first": a_deaf_witness,
    "fresh_prices": a_deaf_witness,
    "close_within_holding": a_double_close_order,
    "close_within_position": a_close_of_what_another_holds,
    "within_limits": tighter_limits,
    "no_netting": opposite_sides,
    "reason_given": a_silent_change,
    "final_look_taken": given_up_at_once,
    "whole_or_flat": open_too_early,
    "surplus_reduced": a_surplus_that_there_is_not,
    "deadline_enforced": a_deadline_that_passes,
    "broken_as_declared": a_rest_closed_that_was_to_stay,
    "comes_to_rest": a_trade_still_open,
    "orders_resolved": an_order_without_outcome,
    "countdown_kept": a_countdown_that_nobody_set_anew,
    "flat_at_venue": a_position_left,
    "nothing_rests": an_order_left,
    "trades_again": nothing_traded,
    "outcome_true": a_refusal_that_was_none,
    "fills_equal": a_fill_lost,
    "positions_equal": a_position_more,
    "fees_equal": a_fee_dropped,
    "cash_equal": a_price_booked_wrongly,
    "one_outcome": two_outcomes,
    "grants_released": a_grant_kept,
    "refusal_is_final": a_refused_intent_with_a_trade,
    "breakers_hold": a_grant_under_an_open_breaker,
    "guard_steady": a_grant_under_a_margin_level,
    "transfers_are_no_gain": a_deposit_in_the_peak,
    "sale_written": a_sale_without_a_row,
    "sales_within_bounds": a_smaller_cap,
    "sales_known": a_sale_that_sold_more,
    "minimum_kept": a_minimum_that_is_not_there,
    "coins_are_own": a_larger_fee_in_coins,
    "coins_sold": a_sale_that_sold_less,
    "coins_equal": a_coin_of_unknown_origin,
    "leverage_asked_once": a_change_asked_twice,
    "leverage_true": a_change_that_was_not_made,
    "leverage_known": a_change_that_nobody_was_told_of,
    "host_acts_alone": a_host_that_closes_anothers_trade,
    "always_hosted": a_strategy_without_a_host,
    "pause_kept": an_opening_after_a_pause,
    "strategies_know": a_strategy_that_missed_an_end,
    "events_arrive": an_event_that_never_arrived,
    "rolled_once": two_successors,
    "net_limit_kept": past_the_net_limit,
    "chain_sums": a_chain_that_was_not_told,
    "roll_ends": a_roll_without_an_end,
    "fold_is_live": another_fold,
    "no_core_failed": a_core_that_raised,
}


class _Exchange:
    """The exchange with one of its answers changed."""

    def __init__(self, real: Any, name: str, change: Callable[[Any], Any]) -> None:
        self._real, self._name, self._change = real, name, change

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return (lambda *args, **kw: self._change(real(*args, **kw))) if name == self._name else real


def _with_exchange(desk: Desk, name: str, change: Callable[[Any], Any]) -> Venue:
    exchange = cast(Any, _Exchange(desk.venue.exchange, name, change))
    return venue_of(desk, exchange=exchange, products=Products(exchange, desk.venue.account_id, futures=False))


def _position(desk: Desk) -> Any:
    """A position as the exchange shows it, in a symbol that was traded."""
    venue = desk.venue
    fill = venue.exchange.fills(venue.account_id)[0]

    class Shown:
        symbol, quantity, side = fill.symbol, Decimal("0.1"), ex.Side.BUY
        average_price = fill.price
        mark_price, unrealised_pnl_mark = 1.0, Decimal(0)

    return cast(Any, Shown)


def test_a_calm_run_keeps_every_promise(desk: Desk) -> None:
    assert violations_at_rest(desk) == []


def test_every_promise_has_its_words_and_a_way_in_which_it_is_seen_to_be_broken() -> None:
    assert set(PROMISES) == set(WAYS) == set(get_args(Invariant))


@pytest.mark.parametrize("invariant", PROMISES)
def test_a_broken_promise_is_seen(desk: Desk, invariant: Invariant) -> None:
    violations = list(WAYS[invariant](desk))
    assert invariant in {violation.invariant for violation in violations}
    told = list(stories(violations, desk.book, 0, DESK_NUMBER))
    assert any(line.startswith(tuple(desk.book.trades)) for line in told)
    assert any(line.startswith("  ") for line in told)


@pytest.mark.parametrize("invariant", ["fees_equal", "cash_equal"])
def test_where_a_sum_differs_the_trade_that_makes_the_difference_is_named(desk: Desk, invariant: Invariant) -> None:
    (violation,) = WAYS[invariant](desk)
    assert violation.concerns == (first_trade(desk.book).trade_id,)


@pytest.mark.parametrize("invariant", ["flat_at_venue", "positions_equal"])
def test_of_a_symbol_the_stories_of_its_trades_are_told_and_of_no_other(desk: Desk, invariant: Invariant) -> None:
    (violation,) = (each for each in WAYS[invariant](desk) if each.invariant == invariant)
    told = [line for line in stories([violation], desk.book, 0, DESK_NUMBER) if line.startswith("t")]
    symbol = _position(desk).symbol
    assert told
    assert all(symbol in line for line in told)


def test_a_trade_past_the_limits_is_named(desk: Desk) -> None:
    begun = [each for each in tighter_limits(desk) if "is begun beside" in each.text]
    assert begun
    assert all(each.text.split()[0] in desk.book.trades for each in begun)
    small = RiskConfig(max_position_quantity=Decimal("0.001"))
    held = [each for each in decision_violations(entries(desk), CONFIG, desk.witness, small) if "hold" in each.text]
    assert held
    assert all(each.text.split()[-1] in desk.book.trades for each in held)


def test_what_a_core_failed_on_is_named(desk: Desk) -> None:
    trade = first_trade(desk.book)
    node = copy.copy(desk.nodes["execution"])
    node.failures = [CoreFailed(f"an input of order {trade.order_ids[0]}", ValueError("drill"))]
    (line, *_) = stories(failures([node]), desk.book, 0, DESK_NUMBER)
    assert line.startswith(trade.trade_id)


def test_a_failed_assertion_is_told_with_stories_of_what_the_journal_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Desk) -> list[Violation]:
        raise AssertionError("drill")

    monkeypatch.setattr("world.simulate.violations_at_rest", fail)
    verdict = simulate(3)
    assert [each.text for each in verdict.violations] == ["assertion: drill"]
    assert verdict.trades > 0
    assert sum(line.startswith("t") for line in verdict.story) in (1, 2, 3)


def test_a_journal_that_cannot_be_folded_to_its_end_is_folded_as_far_as_it_can(desk: Desk) -> None:
    rows = entries(desk)
    place = place_of(rows, lambda row: isinstance(row, TradeRequested) and row.request.strategy == "beta")
    unknown = msgspec.structs.replace(rows[-1], row=OrderMoved(client_order_id=1, state="WORKING", reason="drill"))
    book = folded([*rows[:place], unknown, *rows[place:]], CONFIG)
    assert list(book.trades) == [each.row.trade_id for each in rows[:place] if isinstance(each.row, TradeRequested)]
