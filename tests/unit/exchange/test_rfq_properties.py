"""Whatever takers, makers, dealers and time do: money is conserved, deals are whole, the fold is the state."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.exchange.core import ExchangeCore
from services.exchange.model import OrderType, Side
from services.exchange.rfq_model import QuoteState, RequestState
from tests.unit.exchange.harness import SECOND_NS, T0, A, B
from tests.unit.exchange.rfq_harness import MAKER, RIVAL, SURE, RfqVenue
from tests.unit.exchange.test_properties import through_the_wire

DEALER = replace(SURE, better_min_pct=-3.0, better_max_pct=8.0, no_quote_probability=0.3, two_way_probability=0.5)
ACTIONS = ("ask", "offer", "accept", "accept", "cancel", "withdraw_quote", "wait", "wait", "order", "jump")


class Step(NamedTuple):
    what: str
    account: str
    side: Side
    strikes: tuple[int, ...]
    lots: int
    pick: int
    wait_s: int


steps = st.builds(
    Step,
    what=st.sampled_from(
        [
            "ask",
            "ask",
            "offer",
            "offer",
            "accept",
            "accept",
            "cancel",
            "withdraw_quote",
            "wait",
            "wait",
            "order",
            "jump",
        ]
    ),
    account=st.sampled_from([A, B, MAKER, RIVAL]),
    side=st.sampled_from(list(Side)),
    strikes=st.lists(st.integers(97, 103), min_size=1, max_size=3, unique=True).map(tuple),
    lots=st.integers(1, 60),
    pick=st.integers(0, 1_000),
    wait_s=st.sampled_from([1, 1, 2, 60, 299, 301, 3_600, 90_000]),
)


def do(desk: RfqVenue, step: Step) -> None:
    rfq = desk.core.rfq
    requests, quotes = list(desk.core.state.rfq.requests.values()), list(desk.core.state.rfq.quotes.values())
    if step.pick % 4:
        # Mostly what is still open, or little would ever be traded.
        requests = [each for each in requests if each.state is RequestState.ACTIVE]
        quotes = [each for each in quotes if each.state is QuoteState.OPEN]
    match step.what:
        case "ask":
            sides = (step.side, step.side.opposite, step.side)
            legs = [
                (side, strike * 1_000, f"{step.lots / 100}")
                for side, strike in zip(sides, step.strikes, strict=False)
            ]
            desk.ask_for(desk.legs(*legs), step.account)
        case "offer" if requests:
            request = requests[-1 - step.pick % min(len(requests), 3)]
            prices = tuple(str(step.pick + 1 + number) for number in range(len(request.legs)))
            desk.offer(request, prices, step.account, step.side)
        case "accept" if quotes:
            quote = quotes[-1 - step.pick % min(len(quotes), 4)]
            owner = desk.core.state.rfq.requests[quote.request_id].account_id
            desk.accept(quote, owner if step.pick % 5 else step.account)
        case "cancel" if requests:
            request = requests[step.pick % len(requests)]
            desk.do(rfq.cancel(request.account_id, request.request_id, desk.now_ns))
        case "withdraw_quote" if quotes:
            quote = quotes[step.pick % len(quotes)]
            desk.do(rfq.cancel_quote(quote.account_id or step.account, quote.quote_id, desk.now_ns))
        case "order":
            symbol = desk.option(step.strikes[0] * 1_000, expiry=-1).symbol
            bid, ask = desk.best(symbol)
            desk.order(step.account, step.side, symbol, f"{step.lots / 100}", ask if step.side is Side.BUY else bid)
        case "wait":
            desk.wait(step.wait_s * SECOND_NS)
        case "jump":
            desk.jump(step.pick % 9 - 4)


def check(desk: RfqVenue) -> None:
    desk.assert_books_balance()
    state = desk.core.state.rfq
    for request in state.requests.values():
        found = [quote.state for quote in desk.core.rfq.quotes_on(request.request_id)]
        assert found.count(QuoteState.FILLED) == (request.state is RequestState.FILLED)
        assert request.state is RequestState.ACTIVE or QuoteState.OPEN not in found
        assert (request.request_id in state.active) == (request.state is RequestState.ACTIVE)
    assert list(state.open_quotes) == [
        each.quote_id for each in state.quotes.values() if each.state is QuoteState.OPEN
    ]
    for block in state.blocks.values():
        for account_id in {block.taker_id, block.maker_id} - {None}:
            assert account_id is not None
            fills = {fill.trade_id: fill for fill in desk.fills(account_id)}
            for leg in block.legs:
                fill = fills[leg.trade_id]
                is_taker = account_id == block.taker_id
                assert (fill.order_type, fill.price, fill.quantity) == (
                    OrderType.BLOCK_TRADE,
                    leg.price,
                    leg.quantity,
                )
                assert fill.side is (leg.side if is_taker else leg.side.opposite)


@given(seed=st.integers(0, 2**31), actions=st.lists(steps, min_size=12, max_size=30))
@settings(max_examples=25, deadline=None)
def test_deals_are_whole_money_is_conserved_and_the_fold_is_the_state(seed: int, actions: list[Step]) -> None:
    desk = RfqVenue(dealers=(DEALER, replace(DEALER, name="second")), seed=seed)
    desk.ask(desk.spread("0.1"))
    for step in actions:
        try:
            do(desk, step)
        except StopIteration:
            continue
        check(desk)
    check(desk)
    restored = ExchangeCore.restore(desk.config, T0, through_the_wire(desk.rows))
    assert restored.state == desk.core.state
    later = desk.now_ns + 400 * SECOND_NS
    assert restored.advance(later) == desk.core.advance(later)
    assert restored.state == desk.core.state
