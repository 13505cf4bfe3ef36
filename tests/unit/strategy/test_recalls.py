"""Conditions that remember: since when one holds, the peak of a profit, the volatility at opening, over restarts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.strategy.loaded import LoadedStrategy
from services.strategy.rows import ConditionForgot, ConditionRemembered
from shared.messages.conditions import ExitCondition
from shared.messages.trades import TradeUpdate
from shared.options.chain import ChainView, pack_columns
from shared.strategy import (
    EntryView,
    ExitView,
    StrategyConfig,
    Verdict,
    for_at_least,
    iv_change,
    iv_level,
    not_,
    profit_target,
    straddle,
    time_window,
    trailing_profit,
    underlying_beyond,
)
from shared.strategy.evaluate import evaluate_entry, evaluate_exit
from shared.strategy.recall import Recall
from tests.unit.strategy.dialogue import LISTED, Dialogue
from tests.unit.strategy.making import NOON, SECOND, chain, leg, moved, snapshot, trade

CALL = "BTCUSD-12MAR26-105000-C"


class Looks:
    """Looks at one trade again and again, with what the condition remembered."""

    def __init__(self, condition: ExitCondition, of: TradeUpdate) -> None:
        self.condition, self.of = condition, of
        self.known: dict[str, float] = {}
        self.rows = 0

    def __call__(self, at_ns: int, view: ChainView | None = None) -> Verdict:
        recall = Recall(self.known)
        shown = chain(at_ns) if view is None else view
        seen = ExitView(trade=self.of, account=None, chains={"BTCUSD": shown}, recall=recall)
        verdict = evaluate_exit(self.condition, seen, at_ns)
        self.rows += len(recall.noted)
        known = self.known | recall.noted
        self.known = {key: value for key, value in known.items() if value is not None}
        return verdict


def marked(mark: float, at_ns: int = NOON, vol: float = 0.5) -> ChainView:
    """A chain on which the call has this mark and this volatility."""
    plain = chain(at_ns)
    columns = {name: plain.column(name).copy() for name in ("bid", "ask", "mark", "mark_iv", "delta", "forward")}
    columns["mark"][plain.listed.row_of[CALL]] = mark
    columns["mark_iv"][plain.listed.row_of[CALL]] = vol
    packed = pack_columns(columns, len(plain.instruments))
    return ChainView(msgspec.structs.replace(plain.snapshot, matrix=packed), plain.listed)


def bought(paid: str = "1000") -> TradeUpdate:
    return trade(legs=[leg(CALL, "buy", "1", paid)], premium=paid)


def test_what_holds_for_so_long_closes_and_an_interruption_begins_anew() -> None:
    look = Looks(for_at_least(underlying_beyond(above=100_000), seconds=60), bought())
    assert not look(NOON).open
    assert not look(NOON + 59 * SECOND).open
    assert look(NOON + 60 * SECOND).open
    below = chain(NOON + 61 * SECOND, index=99_000)
    assert not look(NOON + 61 * SECOND, below).open
    assert not look(NOON + 62 * SECOND).open
    assert not look(NOON + 121 * SECOND).open
    verdict = look(NOON + 122 * SECOND)
    assert verdict.open
    assert "for 1.0 min of 1.0 min" in verdict.reason or "for 60 s of 60 s" in verdict.reason
    assert look.rows == 3, "a row when it begins, when it ends and when it begins anew"


def test_what_waits_neither_counts_nor_begins_anew() -> None:
    look = Looks(for_at_least(underlying_beyond(above=100_000), seconds=60), bought())
    look(NOON)
    assert look(NOON + 50 * SECOND, chain(NOON)).waiting
    assert look(NOON + 61 * SECOND).open


def test_an_entry_must_hold_too_and_stands_within_others() -> None:
    condition = not_(for_at_least(iv_level(40), seconds=10))
    known: dict[str, float] = {}
    for seconds, is_open in ((0, True), (9, True), (10, False)):
        now = NOON + seconds * SECOND
        view = EntryView(account=None, chains={"BTCUSD": chain(now)}, recall=Recall(known))
        assert evaluate_entry(condition, view, now).open is is_open
        known |= {key: value for key, value in view.recall.noted.items() if value is not None}


def test_a_profit_trails_its_peak_once_it_has_begun() -> None:
    look = Looks(trailing_profit(30, start_pct=50), bought("1000"))
    assert not look(NOON, marked(1_400)).open, "has not begun"
    assert not look(NOON, marked(900)).open, "a loss before the start is not its matter"
    assert not look(NOON, marked(1_600)).open
    assert not look(NOON, marked(2_000)).open
    assert not look(NOON, marked(1_701)).open
    verdict = look(NOON, marked(1_700))
    assert verdict.open
    assert verdict.reason == "P&L 700.00 USD, was 1000.00 USD, closes at 700.00 USD"
    assert look(NOON, marked(900)).open, "gone below the start it still closes"


def test_a_peak_that_creeps_is_not_a_row_at_every_look() -> None:
    look = Looks(trailing_profit(30, start_usd=500), bought("1000"))
    for step in range(200):
        look(NOON, marked(1_600 + step * 0.1))
    assert look.rows < 10


def test_a_change_of_volatility_is_measured_from_the_first_look() -> None:
    look = Looks(iv_change(up_points=10, down_points=5), bought())
    assert not look(NOON, marked(1_000, vol=0.50)).open
    assert not look(NOON, marked(1_000, vol=0.599)).open
    assert look(NOON, marked(1_000, vol=0.601)).open
    assert not look(NOON, marked(1_000, vol=0.451)).open
    verdict = look(NOON, marked(1_000, vol=0.449))
    assert verdict.open
    assert verdict.reason == "iv of the legs 44.9 %, at opening 50.0 %: -5.1 points, closes at +10 or -5"


EXITS = (trailing_profit(50, start_usd=1), for_at_least(profit_target(usd=10_000), seconds=1))


def remembered(desk: Dialogue, kind: type) -> list[Any]:
    return [entry.row for entry in desk.journal if isinstance(entry.row, kind)]


@pytest.fixture
def desk() -> Dialogue:
    config = StrategyConfig(name="straddler", legs=straddle("0.1"), entry_conditions=[time_window(22, 23)])
    return Dialogue(LoadedStrategy.from_config(config))


def test_a_killed_host_still_knows_the_peak_and_forgets_it_when_the_trade_has_ended(desk: Dialogue) -> None:
    desk.ready()
    of = trade(legs=[leg(CALL, "buy", "1", "1")], exits=EXITS, created_ns=desk.now_ns, opened_ns=desk.now_ns)
    desk.opened(of)
    desk.hear(snapshot(LISTED, desk.now_ns), "marketdata")
    desk.wait(1)
    (peak,) = remembered(desk, ConditionRemembered)
    assert peak.trade_id == of.trade_id
    assert peak.value > 1_000
    desk.restart()
    desk.ready()
    desk.opened(of)
    cheap = msgspec.structs.replace(snapshot(LISTED, desk.now_ns, index=90_000))
    desk.hear(cheap, "marketdata")
    desk.wait(1)
    (close,) = desk.closes()
    assert f"was {peak.value:.2f} USD" in close.reason
    assert not remembered(desk, ConditionForgot)
    desk.opened(moved(of, "CLOSED", desk.now_ns))
    assert [row.trade_id for row in remembered(desk, ConditionForgot)] == [of.trade_id]
