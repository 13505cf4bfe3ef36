"""Market-maker protection: what counts, what ends, what is refused, and the same after a restart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.exchange.core import ExchangeCore
from services.exchange.mmp_state import ProtectionChanged, SetProtection
from services.exchange.model import OrderState, PlaceOrder, Rejection, Side
from services.exchange.rfq_model import CreateQuote, LegPriced, QuoteState, RequestState
from services.exchange.rows import MmpCounted, MmpFired
from tests.unit.exchange.harness import SECOND_NS, A, B, D, Venue, small_config
from tests.unit.exchange.rfq_harness import MAKER, RIVAL, RfqVenue
from tests.unit.exchange.test_countdown import option_of


def venue(**switches: Any) -> Venue:
    """Two indices, so that a protection of one has another to leave alone."""
    config = small_config()
    btc = config.bases[0]
    eth = msgspec.structs.replace(btc, base="ETH")
    switched = msgspec.structs.replace(config.switches, **switches)
    return Venue(msgspec.structs.replace(config, bases=(btc, eth), switches=switched))


def protect(
    desk: Venue,
    quantity: str | None = "0.05",
    delta: str | None = None,
    *,
    interval_ms: int = 10_000,
    frozen_ms: int = 5_000,
    index: str = "BTCUSD",
) -> Any:
    command = SetProtection(
        index=index,
        interval_ms=interval_ms,
        frozen_ms=frozen_ms,
        quantity_limit=None if quantity is None else D(quantity),
        delta_limit=None if delta is None else D(delta),
    )
    outcome = desk.core.mmp.set(A, command, desk.now_ns)
    desk.keep(outcome.rows, outcome.events)
    return outcome.result


def reset(desk: Venue, index: str = "BTCUSD") -> Any:
    outcome = desk.core.mmp.reset(A, index, desk.now_ns)
    desk.keep(outcome.rows, outcome.events)
    return outcome.result


def inside(desk: Venue, symbol: str) -> Decimal:
    """A price between the makers' best, where a client's order is the first to trade."""
    book = desk.core.order_book(symbol)
    assert book is not None
    return book.asks[0].price - D(1)


def offer(desk: Venue, quantity: str, base: str = "BTC", *, mmp: bool = True) -> Any:
    """An offer of ours that is better than the makers'."""
    symbol = option_of(desk, base)
    return desk.send(
        A,
        PlaceOrder(symbol=symbol, side=Side.SELL, quantity=D(quantity), price=inside(desk, symbol), mmp=mmp),
    )


def take(desk: Venue, quantity: str, base: str = "BTC") -> None:
    """Somebody else buys from us at our price."""
    symbol = option_of(desk, base)
    book = desk.core.order_book(symbol)
    assert book is not None
    desk.accepted(B, Side.BUY, symbol, quantity, book.asks[0].price)


def state_of(desk: Venue, order_id: int) -> OrderState:
    order = desk.core.order(A, order_id)
    assert order is not None
    return order.state


def test_fills_up_to_the_limit_end_what_is_protected_in_the_index_and_nothing_else() -> None:
    desk = venue()
    assert protect(desk) == ProtectionChanged("BTCUSD")
    protect(desk, index="ETHUSD")
    plain = offer(desk, "0.10", mmp=False)
    first, other_index = offer(desk, "0.10"), offer(desk, "0.10", "ETH")
    take(desk, "0.04")
    assert state_of(desk, first.order_id) is OrderState.PARTIALLY_FILLED
    take(desk, "0.01")
    assert state_of(desk, first.order_id) is OrderState.CANCELLED
    assert state_of(desk, plain.order_id) is OrderState.NEW
    assert state_of(desk, other_index.order_id) is OrderState.NEW
    order = desk.core.order(A, first.order_id)
    assert order is not None
    assert order.filled == D("0.05")


def test_a_fired_protection_refuses_protected_orders_until_its_time_is_over() -> None:
    desk = venue()
    protect(desk, frozen_ms=5_000)
    offer(desk, "0.05")
    take(desk, "0.05")
    refused = offer(desk, "0.01")
    assert isinstance(refused, Rejection)
    assert refused.code == 10001
    assert not isinstance(offer(desk, "0.01", mmp=False), Rejection)
    desk.wait(5 * SECOND_NS)
    assert not isinstance(offer(desk, "0.01"), Rejection)


def test_without_a_time_it_stays_fired_until_it_is_reset() -> None:
    desk = venue(mmp_frozen_code=60008)
    protect(desk, frozen_ms=0)
    offer(desk, "0.05")
    take(desk, "0.05")
    desk.wait(3_600 * SECOND_NS)
    refused = offer(desk, "0.01")
    assert isinstance(refused, Rejection)
    assert refused.code == 60008
    protect(desk, frozen_ms=0)
    assert isinstance(offer(desk, "0.01"), Rejection), "setting it anew is no reset"
    assert reset(desk) == ProtectionChanged("BTCUSD")
    assert not isinstance(offer(desk, "0.01"), Rejection)


def test_only_the_fills_of_the_interval_count() -> None:
    desk = venue()
    protect(desk, interval_ms=10_000)
    for _ in range(3):
        offer(desk, "0.04")
        take(desk, "0.04")
        desk.wait(10 * SECOND_NS)
    assert len([row for row in desk.rows if isinstance(row, MmpCounted)]) == 3
    assert not [row for row in desk.rows if isinstance(row, MmpFired)]


def test_the_net_delta_counts_with_its_sign() -> None:
    desk = venue()
    protect(desk, None, "0.01")
    order = offer(desk, "0.20")
    take(desk, "0.10")
    (counted,) = [row for row in desk.rows if isinstance(row, MmpCounted)]
    assert counted.delta < -0.01
    assert counted.amount == D("0.10")
    assert state_of(desk, order.order_id) is OrderState.CANCELLED


def test_a_limit_may_count_notional_instead_of_quantity() -> None:
    desk = venue(mmp_limit_unit="notional")
    protect(desk, "1000000")
    order = offer(desk, "0.20")
    take(desk, "0.10")
    (counted,) = [row for row in desk.rows if isinstance(row, MmpCounted)]
    assert counted.amount > 1_000
    assert state_of(desk, order.order_id) is OrderState.PARTIALLY_FILLED


def test_protected_orders_need_a_protection() -> None:
    desk = venue()
    refused = offer(desk, "0.01")
    assert isinstance(refused, Rejection)
    assert refused.code == 60008
    assert isinstance(reset(desk), Rejection)
    protect(desk)
    assert not isinstance(offer(desk, "0.01"), Rejection)
    protect(desk, interval_ms=0)
    assert desk.core.mmp.protection(A, "BTCUSD") is None
    assert isinstance(offer(desk, "0.01"), Rejection)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"index": "DOGEUSD"}, 10579),
        ({"interval_ms": 999}, 10573),
        ({"frozen_ms": 1_000_000_001}, 10573),
        ({"interval_ms": -1}, 10573),
        ({"quantity": "0.001"}, 10573),
        ({"delta": "0"}, 10573),
    ],
)
def test_a_figure_out_of_range_is_refused_and_changes_nothing(changes: dict[str, Any], code: int) -> None:
    desk = venue()
    refused = protect(desk, **changes)
    assert isinstance(refused, Rejection)
    assert refused.code == code
    assert desk.core.state.mmp.protections == {}


def test_a_change_keeps_the_id_and_the_time_of_its_making_and_counts_anew() -> None:
    desk = venue()
    protect(desk)
    before = desk.core.mmp.protection(A, "BTCUSD")
    assert before is not None
    offer(desk, "0.20")
    take(desk, "0.04")
    protect(desk, quantity="0.06")
    after = desk.core.mmp.protection(A, "BTCUSD")
    assert after is not None
    assert (after.protection_id, after.created_ns) == (before.protection_id, before.created_ns)
    assert after.quantity_limit == D("0.06")
    assert not after.counted


def test_a_restarted_exchange_has_the_same_protections() -> None:
    desk = venue()
    protect(desk)
    offer(desk, "0.20")
    take(desk, "0.04")
    again = ExchangeCore.restore(desk.config, desk.started_ns, desk.rows)
    assert again.state == desk.core.state
    take(desk, "0.01")
    again = ExchangeCore.restore(desk.config, desk.started_ns, desk.rows)
    assert again.state == desk.core.state
    protection = again.mmp.protection(A, "BTCUSD")
    assert protection is not None
    assert protection.is_frozen(desk.now_ns)


@pytest.mark.parametrize(("counts", "fired"), [("protected", False), ("all", True)])
def test_the_fills_of_other_orders_count_as_configured(counts: str, fired: bool) -> None:
    desk = venue(mmp_counts=counts)
    protect(desk)
    resting = offer(desk, "0.10")
    desk.buy_from_makers(A, desk.option(102_000).symbol, "0.05")
    assert (state_of(desk, resting.order_id) is OrderState.CANCELLED) is fired


@pytest.mark.parametrize(("window", "fired"), [("rolling", True), ("fixed", False)])
def test_the_interval_rolls_or_begins_anew_as_configured(window: str, fired: bool) -> None:
    """Fills at 0, 8 and 12 s: within ten seconds of the last one lie two of them, in one fixed interval only one."""
    desk = venue(mmp_window=window)
    protect(desk, interval_ms=10_000)
    for quantity, pause_s in (("0.01", 8), ("0.03", 4), ("0.03", 0)):
        offer(desk, quantity)
        take(desk, quantity)
        desk.wait(pause_s * SECOND_NS)
    assert bool([row for row in desk.rows if isinstance(row, MmpFired)]) is fired
    again = ExchangeCore.restore(desk.config, desk.started_ns, desk.rows)
    assert again.state == desk.core.state


@pytest.mark.parametrize(("scope", "indices"), [("index", {"BTCUSD"}), ("account", {"BTCUSD", "ETHUSD"})])
def test_a_protection_is_about_its_index_or_the_whole_account(scope: str, indices: set[str]) -> None:
    desk = venue(mmp_scope=scope)
    protect(desk)
    protect(desk, "100", index="ETHUSD")
    other = offer(desk, "0.10", "ETH")
    offer(desk, "0.05")
    take(desk, "0.05")
    assert {row.index for row in desk.rows if isinstance(row, MmpFired)} == indices
    assert (state_of(desk, other.order_id) is OrderState.CANCELLED) is (scope == "account")
    assert isinstance(offer(desk, "0.01", "ETH"), Rejection) is (scope == "account")


@pytest.mark.parametrize("orders", ["protected", "all"])
def test_unprotected_orders_of_the_index_end_as_configured(orders: str) -> None:
    desk = venue(mmp_orders=orders)
    protect(desk)
    plain, other_index = offer(desk, "0.10", mmp=False), offer(desk, "0.10", "ETH", mmp=False)
    symbol = option_of(desk, "BTC")
    protected = desk.accepted(A, Side.SELL, symbol, "0.05", inside(desk, symbol) - D(1), mmp=True)
    take(desk, "0.05")
    assert state_of(desk, protected.order_id) is OrderState.FILLED
    assert (state_of(desk, plain.order_id) is OrderState.CANCELLED) is (orders == "all")
    assert state_of(desk, other_index.order_id) is OrderState.NEW


@pytest.mark.parametrize("quotes", ["left", "cancelled"])
def test_the_makers_quotes_end_and_are_refused_as_configured(quotes: str) -> None:
    desk = RfqVenue(dealers=(), mmp_quotes=quotes)
    command = SetProtection(
        index="BTCUSD", interval_ms=10_000, frozen_ms=5_000, quantity_limit=D("0.05"), delta_limit=None
    )
    desk.do(desk.core.mmp.set(MAKER, command, desk.now_ns))
    request = desk.ask(desk.spread())

    def quote(account_id: str = MAKER) -> Any:
        priced = tuple(
            LegPriced(symbol=leg.symbol, price=price)
            for leg, price in zip(request.legs, (D(900), D(300)), strict=True)
        )
        order = CreateQuote(request_id=request.request_id, legs=priced, side=Side.SELL)
        return desk.do(desk.core.rfq.create_quote(account_id, order, desk.now_ns))

    given, rivals = quote(), quote(RIVAL)
    symbol = desk.option().symbol
    desk.accepted(MAKER, Side.BUY, symbol, "0.05", desk.best(symbol)[1], mmp=True)
    state = {each.quote_id: each.state for each in desk.core.rfq.quotes_on(request.request_id)}
    assert state[rivals.quote_id] is QuoteState.OPEN
    assert (state[given.quote_id] is QuoteState.CANCELLED) is (quotes == "cancelled")
    if quotes == "cancelled":
        assert quote().code == 10001
        desk.wait(5 * SECOND_NS)
        assert quote().state is QuoteState.OPEN
    assert desk.core.rfq.requests(A)[0].state is RequestState.ACTIVE
