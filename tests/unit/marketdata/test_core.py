"""Market data: lists before chains, columns by expiry, and nothing stale shown as fresh."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from services.marketdata.config import MarketdataConfig
from services.marketdata.core import MarketdataCore
from services.marketdata.effects import FollowBooks, InstrumentsLoaded, ReloadInstruments
from shared.messages.market import (
    CHAIN_COLUMNS,
    ChainSnapshot,
    IndexPrice,
    Instrument,
    InstrumentList,
)
from shared.messages.steps import Entry, LoopStalled, Publish, RaiseAlert, Step, Tick
from shared.messages.venue import StreamDown, StreamUp
from shared.options import black76
from shared.options.chain import ChainView, OptionList, list_id_of
from shared.options.symbols import years_to_expiry
from shared.venues.ports import ChainPush, IndexPush, OptionQuoteRow

SECOND = 1_000_000_000
START = 1_772_000_000 * SECOND
NEAR = START + 86_400 * SECOND
FAR = START + 7 * 86_400 * SECOND
VENUES_GREEKS = MarketdataConfig(own_greeks=False)


def option(expiry_ns: int, strike: int, kind: str = "C") -> Instrument:
    symbol = f"BTCUSD-{'26FEB26' if expiry_ns == NEAR else '4MAR26'}-{strike}-{kind}"
    last_trade_ns = expiry_ns - 900 * SECOND
    return msgspec.convert(
        [symbol, "BTCUSD", kind, str(strike), expiry_ns, last_trade_ns, "1", "0.01", "0.01", "100"], Instrument
    )


LISTED = (option(NEAR, 100), option(NEAR, 110), option(FAR, 100), option(FAR, 110, "P"))


def row(symbol: str, **values: float) -> OptionQuoteRow:
    fields = dict.fromkeys(CHAIN_COLUMNS, math.nan) | values
    return OptionQuoteRow(symbol=symbol, **fields)


def push(expiry_ns: int, *, venue_ns: int = 0, bid: float = 1.0, **values: float) -> ChainPush:
    rows = tuple(row(o.symbol, bid=bid, ask=2.0, mark=1.5, **values) for o in LISTED if o.expiry_ns == expiry_ns)
    return ChainPush(underlying="BTCUSD", expiry_ns=expiry_ns, venue_ns=venue_ns, rows=rows)


class Script:
    def __init__(self, config: MarketdataConfig = VENUES_GREEKS) -> None:
        self.core = MarketdataCore(config)
        self.lists: dict[str, InstrumentList] = {}

    def on(self, item: Any, at_s: float = 0.0) -> Step:
        step = self.core.handle(item, START + int(at_s * SECOND))
        for effect in step.effects:
            if isinstance(effect, Publish) and isinstance(effect.message, InstrumentList):
                self.lists[effect.message.list_id] = effect.message
        return step

    def load(self, instruments: tuple[Instrument, ...] = LISTED, at_s: float = 0.0) -> Step:
        return self.on(InstrumentsLoaded(underlying="BTCUSD", instruments=instruments), at_s)

    def index(self, price: float, at_s: float = 0.0, venue_ns: int = 0) -> Step:
        return self.on(IndexPush(underlying="BTCUSD", price=price, venue_ns=venue_ns), at_s)

    def chain(self, at_s: float) -> ChainView | None:
        """What the tick at this time shows."""
        return self.shown(self.on(Tick(), at_s))

    def shown(self, step: Step) -> ChainView | None:
        found = [e.message for e in step.effects if isinstance(e, Publish) and isinstance(e.message, ChainSnapshot)]
        return ChainView(found[0], OptionList(self.lists[found[0].list_id])) if found else None


def shown(view: ChainView | None) -> ChainView:
    assert view is not None, "no chain was published"
    return view


def test_the_list_is_published_before_the_first_chain_that_uses_it() -> None:
    script = Script()
    (published,) = script.load(tuple(reversed(LISTED))).effects
    assert published == Publish(
        "md.BTCUSD.instruments",
        InstrumentList(underlying="BTCUSD", list_id=list_id_of(LISTED), instruments=LISTED),
    )
    script.on(push(NEAR))
    view = shown(script.chain(1))
    assert view.snapshot.list_id == list_id_of(LISTED)
    assert view.value(LISTED[0].symbol, "bid") == 1.0


def test_the_same_content_in_another_order_is_the_same_list() -> None:
    script = Script()
    script.load()
    assert script.load(tuple(reversed(LISTED)), 300).effects == []


def test_a_new_listing_is_a_new_list_and_keeps_what_was_received() -> None:
    script = Script()
    script.load(LISTED[:2])
    script.on(push(NEAR))
    step = script.load(at_s=1)
    assert [type(effect.message) for effect in step.effects] == [InstrumentList]
    view = shown(script.chain(1))
    assert view.value(LISTED[0].symbol, "bid") == 1.0
    assert view.value(LISTED[2].symbol, "bid") is None
    assert view.snapshot.received_ns == START


def test_expired_options_are_not_listed() -> None:
    script = Script()
    at_s = (NEAR - START) / SECOND
    script.load(at_s=at_s)
    (listed,) = script.lists.values()
    assert [o.expiry_ns for o in listed.instruments] == [FAR, FAR]
    assert script.core.expiries_ns("BTCUSD", FAR) == ()


def test_a_list_that_shares_nothing_with_the_one_before_starts_empty() -> None:
    script = Script()
    script.load(LISTED[:2])
    script.on(push(NEAR))
    script.load(LISTED[2:], 1)
    assert script.chain(1) is None


def test_nothing_is_shown_before_something_was_received() -> None:
    script = Script()
    script.load()
    assert script.chain(0) is None
    assert script.core.next_deadline_ns() == START + SECOND


def test_a_chain_is_published_each_interval_with_the_receipt_of_its_oldest_part() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR, venue_ns=7), 0.2)
    script.on(push(FAR, venue_ns=9), 0.4)
    view = shown(script.chain(1))
    assert (view.snapshot.received_ns, view.snapshot.venue_ns) == (START + SECOND // 5, 9)
    assert script.core.next_deadline_ns() == START + 2 * SECOND
    assert script.chain(1.5) is None
    assert script.chain(2) is not None


def test_a_stale_expiry_is_missing_and_the_others_stay() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR), 0)
    script.on(push(FAR), 10)
    view = shown(script.chain(16))
    assert np.isnan(view.column("mark")[:2]).all()
    assert not np.isnan(view.column("mark")[2:]).any()
    assert view.snapshot.received_ns == START + 10 * SECOND


def test_no_chain_at_all_when_every_expiry_is_stale() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR), 0)
    assert script.chain(15) is not None
    assert script.chain(16.1) is None


def test_an_option_missing_from_the_push_of_its_expiry_is_missing_from_the_chain() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))
    full = push(NEAR)
    script.on(msgspec.structs.replace(full, rows=full.rows[:1]), 0.5)
    view = shown(script.chain(1))
    assert view.value(LISTED[0].symbol, "mark") == 1.5
    assert view.value(LISTED[1].symbol, "mark") is None


def test_a_price_that_is_no_price_is_missing_and_never_zero() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR, bid=0.0, open_interest=math.inf, volume=0.0))
    view = shown(script.chain(1))
    assert view.value(LISTED[0].symbol, "bid") is None
    assert view.value(LISTED[0].symbol, "open_interest") is None
    assert view.value(LISTED[0].symbol, "volume") == 0.0


def test_a_push_that_was_overtaken_is_dropped_unless_what_is_held_has_aged() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR, venue_ns=100, bid=1.1), 0)
    script.on(push(NEAR, venue_ns=90, bid=1.2), 1)
    assert shown(script.chain(1)).value(LISTED[0].symbol, "bid") == 1.1
    script.on(push(NEAR, venue_ns=90, bid=1.3), 2)
    assert shown(script.chain(2)).value(LISTED[0].symbol, "bid") == 1.3


def test_an_unlisted_symbol_asks_for_the_list_again_but_not_at_every_push() -> None:
    script = Script()
    script.load(LISTED[1:2])
    assert script.on(push(NEAR)).effects == [ReloadInstruments("BTCUSD")]
    assert script.on(push(NEAR), 1).effects == []
    assert list(shown(script.chain(1)).listed.row_of) == [LISTED[1].symbol]
    assert script.on(push(FAR), 31).effects == [ReloadInstruments("BTCUSD")]


def test_a_push_before_the_first_list_asks_for_it() -> None:
    assert Script().on(push(NEAR)).effects == [ReloadInstruments("BTCUSD")]


def test_a_push_without_a_listed_option_empties_its_expiry() -> None:
    script = Script()
    script.load()
    script.on(msgspec.structs.replace(push(NEAR), rows=(row("unknown"),)))
    assert np.isnan(shown(script.chain(1)).column("mark")).all()


def test_the_index_is_published_as_it_comes_and_stands_in_the_chain() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))
    (published,) = script.index(100.0, 0.5, venue_ns=5).effects
    expected = IndexPrice(underlying="BTCUSD", price=100.0, venue_ns=5, received_ns=START + SECOND // 2)
    assert published == Publish("md.BTCUSD.index", expected)
    view = shown(script.chain(1))
    assert (view.snapshot.index_price, view.snapshot.index_received_ns) == (100.0, START + SECOND // 2)


def test_a_stale_index_is_missing_from_the_chain() -> None:
    script = Script()
    script.load()
    script.index(100.0)
    script.on(push(NEAR), 10)
    assert shown(script.chain(10)).snapshot.index_price == 100.0
    assert math.isnan(shown(script.chain(11)).snapshot.index_price)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_an_index_that_is_no_price_is_ignored(price: float) -> None:
    assert Script().index(price).effects == []


def test_an_index_that_was_overtaken_is_ignored() -> None:
    script = Script()
    script.index(100.0, 0, venue_ns=10)
    assert script.index(99.0, 0.1, venue_ns=9).effects == []


def test_a_jump_of_the_index_publishes_the_chain_at_once_but_not_too_often() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))
    script.index(100.0)
    assert script.chain(1) is not None
    assert script.shown(script.index(100.05, 1.3)) is None
    assert script.shown(script.index(100.2, 1.4)) is not None
    assert script.shown(script.index(100.5, 1.5)) is None
    assert script.core.next_deadline_ns() == START + int(1.65 * SECOND)
    assert script.chain(1.65) is not None


def test_after_a_stall_nothing_counts_as_fresh_until_it_is_received_again() -> None:
    script = Script()
    script.load()
    script.index(100.0)
    script.on(push(NEAR))
    script.on(LoopStalled(3 * SECOND), 1)
    assert script.chain(1) is None
    script.on(push(NEAR), 2)
    view = shown(script.chain(2))
    assert math.isnan(view.snapshot.index_price)
    Script().on(LoopStalled(1))


def test_our_greeks_take_the_place_of_the_venues() -> None:
    script = Script(MarketdataConfig())
    script.load()
    script.on(push(NEAR, mark_iv=0.5, forward=105.0, delta=0.9, gamma=0.1, theta=-1.0))
    view = shown(script.chain(1))
    now_ns = START + SECOND
    expected = black76.greeks(
        105.0, np.array([100.0, 110.0]), years_to_expiry(now_ns, np.array([NEAR, NEAR])), 0.5, True
    )
    for name in ("delta", "gamma", "vega", "theta", "rho"):
        assert view.column(name)[:2] == pytest.approx(getattr(expected, name))


def test_the_venues_greeks_stay_where_ours_cannot_be_computed() -> None:
    script = Script(MarketdataConfig())
    script.load()
    script.on(push(NEAR, mark_iv=0.5, delta=0.25))
    assert shown(script.chain(1)).column("delta")[:2] == pytest.approx([0.25, 0.25])


def test_silence_is_told_per_expiry_and_index() -> None:
    core = (script := Script()).core
    assert core.silent_expiries("BTCUSD", START, 3_000) == ()
    assert core.expiries_ns("BTCUSD", START) == ()
    assert core.index_is_silent("BTCUSD", START, 3_000)
    assert not core.listed("BTCUSD")
    script.load()
    script.on(push(NEAR), 1)
    script.index(100.0, 1)
    at = START + 4 * SECOND
    assert core.listed("BTCUSD")
    assert core.silent_expiries("BTCUSD", at, 3_000) == (FAR,)
    assert core.silent_expiries("BTCUSD", at + 1, 3_000) == (NEAR, FAR)
    assert core.silent_expiries("BTCUSD", NEAR, 3_000) == (FAR,)
    assert not core.index_is_silent("BTCUSD", at, 3_000)
    assert core.index_is_silent("BTCUSD", at + 1, 3_000)
    assert core.expiries_ns("BTCUSD", START) == (NEAR, FAR)


def test_a_lost_stream_is_alarmed_once_and_its_return_told() -> None:
    script = Script()

    def told(item: object) -> list[tuple[str, bool, str]]:
        raised = [effect for effect in script.on(item).effects if isinstance(effect, RaiseAlert)]
        return [(effect.subject, effect.resolved, effect.severity) for effect in raised]

    chains, indices = StreamDown("chains: reset", "chains"), StreamDown("indices: reset", "indices")
    assert [told(item) for item in (StreamUp("chains"), chains, chains, StreamUp("indices"), indices)] == [
        [],
        [("chains", False, "warning")],
        [],
        [],
        [("indices", False, "warning")],
    ]
    assert told(StreamUp("chains")) == [("chains", True, "info")]
    assert told(StreamUp("indices")) == [("indices", True, "info")]


def test_two_underlyings_keep_apart() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))
    script.on(IndexPush(underlying="ETHUSD", price=3_000.0, venue_ns=0))
    step = script.on(Tick(), 1)
    topics = [effect.topic for effect in step.effects if isinstance(effect, Publish)]
    assert topics == ["md.BTCUSD.chain", "md.BTCUSD.comparison"]


def test_what_is_not_for_market_data_is_ignored_and_a_row_is_our_own_bug() -> None:
    script = Script()
    assert script.on(object()).effects == []
    assert script.core.start(START).effects == [FollowBooks(())]
    with pytest.raises(AssertionError, match="journals nothing"):
        script.core.apply(Entry(START, "", "row"))
