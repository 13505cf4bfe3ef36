"""The margin guard: levels with hysteresis, what it plans, and that it does only what it has shown."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.risk.config import RiskConfig
from services.risk.rows import MarginLevelMoved, RiskRow
from shared.messages.control import HaltsAnswered, HaltState, RaiseHalt
from shared.messages.risk import MarginGuard, RiskLimits
from shared.messages.steps import Publish, RaiseAlert, ReplyReceived, RequestTimedOut, SendRequest, Step, Tick
from shared.messages.trades import CloseAccepted, CloseTrade, LegOrder, LegStatus, Refusal, TradeState, TradeUpdate
from tests.unit.dated_futures import chain_with_futures, with_futures
from tests.unit.risk.desk import (
    CALL_110,
    INDEX,
    LISTED,
    PUT_90,
    SECOND,
    START,
    Script,
    account,
    ask,
    chain,
    halt_state,
    leg,
    limits,
    trade,
)

NOTICE_S = 15
PERPETUAL, QUARTER = "BTCUSD", "BTCUSD-26JUN26"
FUTURES = with_futures(LISTED, QUARTER)


def config(**changes: Any) -> RiskConfig:
    # a fall of the equity shall not be what halts
    return limits(**({"max_drawdown_pct": 100, "max_daily_loss_pct": 100} | changes))


def read(script: Script, at_s: float, used_pct: float, equity: str = "100000") -> Step:
    margin = Decimal(equity) * Decimal(str(used_pct)) / 100
    script.market(at_s)
    return script.poll(at_s, msgspec.structs.replace(account(equity), maintenance_margin_usd=margin))


def guard(step: Step) -> MarginGuard:
    (shown,) = [
        effect.message
        for effect in step.effects
        if isinstance(effect, Publish) and isinstance(effect.message, RiskLimits)
    ]
    assert shown.margin_guard is not None
    return shown.margin_guard


def reads(script: Script, at_s: float, used_pct: float, times: int = 2) -> MarginGuard:
    for number in range(times):
        step = read(script, at_s + number, used_pct)
    return guard(step)


def asked(step: Step) -> list[SendRequest]:
    return [effect for effect in step.effects if isinstance(effect, SendRequest)]


def short(script: Script, name: str, symbol: str, quantity: str, state: TradeState = "OPEN") -> TradeUpdate:
    grant = script.granted(ask(f"s-{name}", (leg(symbol, "sell", quantity),), max_loss_usd=1.0))
    held = LegStatus(
        symbol=symbol,
        side="sell",
        quantity=Decimal(quantity),
        filled_quantity=Decimal(quantity),
        closed_quantity=Decimal(0),
        open_price=Decimal(100),
        close_price=None,
    )
    update = msgspec.structs.replace(
        trade(grant, START, state=state, grant_open=False, trade_id=f"t-{name}"), legs=(held,)
    )
    script.hear(update, 0, "execution")
    return update


class FuturesScript(Script):
    """A market with the perpetual and a dated future at the index."""

    def market(self, at_s: float = 0.0, **changes: Any) -> Script:
        self.hear(FUTURES, at_s)
        plain = chain(START + int(at_s * 1e9), **changes)
        self.hear(chain_with_futures(plain, FUTURES, {QUARTER: INDEX}, INDEX), at_s)
        return self


def holds(script: Script, name: str, *legs: LegOrder, hedge_of: str = "", state: TradeState = "OPEN") -> None:
    """Execution tells of a trade that holds all of its legs."""
    grant = script.granted(ask(f"s-{name}", (leg(CALL_110, "buy", "0.1"),)))
    held = tuple(
        LegStatus(
            symbol=each.symbol,
            side=each.side,
            quantity=each.quantity,
            filled_quantity=each.quantity,
            closed_quantity=Decimal(0),
            open_price=Decimal(100),
            close_price=None,
        )
        for each in legs
    )
    told = trade(grant, START, state=state, grant_open=False, trade_id=f"t-{name}")
    script.hear(msgspec.structs.replace(told, legs=held, hedge_of=hedge_of), 0, "execution")


@pytest.mark.parametrize("symbol", [PERPETUAL, QUARTER])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_future_frees_margin_on_either_side(symbol: str, side: str) -> None:
    script = FuturesScript(config(futures_maintenance_fraction=0.01)).ready()
    holds(script, "future", leg(symbol, side, "0.4"))
    planned = reads(script, 1, 85).planned
    assert planned == f"close t-future of s, which frees about {0.4 * 0.01 * INDEX:,.0f} USD of maintenance margin"


def test_coins_of_spot_and_long_options_free_nothing() -> None:
    script = FuturesScript(config()).ready()
    holds(script, "long", leg(CALL_110, "buy", "10"))
    holds(script, "coins", leg("BTCUSDT", "buy", "10"))
    assert reads(script, 1, 85).planned == ""


def test_a_hedge_counts_with_the_trade_that_it_hedges_and_is_not_taken_from_it() -> None:
    script = FuturesScript(config(futures_maintenance_fraction=0.5)).ready()
    holds(script, "hedged", leg(CALL_110, "sell", "0.1"))
    holds(script, "hedge", leg(PERPETUAL, "buy", "0.1"), hedge_of="t-hedged")
    holds(script, "alone", leg(PUT_90, "sell", "0.3"))
    assert reads(script, 1, 85).planned.startswith("close t-hedged of s")


def test_a_hedge_is_closed_for_itself_where_what_it_hedges_is_not_to_be_closed() -> None:
    script = FuturesScript(config()).ready()
    holds(script, "hedged", leg(CALL_110, "sell", "0.1"), state="BROKEN")
    holds(script, "hedge", leg(PERPETUAL, "buy", "0.1"), hedge_of="t-hedged")
    assert reads(script, 1, 85).planned.startswith("close t-hedge of s")


def levels(script: Script) -> list[str]:
    return [entry.row.level for entry in script.rows if isinstance(entry.row, MarginLevelMoved)]


@pytest.mark.parametrize(
    ("used_pct", "level"),
    [(49.9, "normal"), (50, "warn"), (65, "no_new_trades"), (80, "reduce"), (90, "flatten"), (150, "flatten")],
)
def test_a_level_begins_at_its_threshold(used_pct: float, level: str) -> None:
    assert reads(Script(config()).ready(), 1, used_pct).level == level


def test_one_wrong_figure_changes_nothing() -> None:
    script = Script(config()).ready()
    read(script, 1, 95)
    assert guard(read(script, 2, 10)).level == "normal"
    assert levels(script) == []


def test_two_reads_of_different_levels_confirm_the_lower() -> None:
    script = Script(config()).ready()
    read(script, 1, 95)
    assert guard(read(script, 2, 70)).level == "no_new_trades"


def test_a_level_ends_only_below_its_threshold_by_the_hysteresis() -> None:
    script = Script(config()).ready()
    reads(script, 1, 66)
    assert reads(script, 3, 61).level == "no_new_trades"
    assert reads(script, 5, 60).level == "warn"
    assert reads(script, 7, 46).level == "warn"
    assert reads(script, 9, 44).level == "normal"


def test_without_equity_any_margin_is_the_last_level_and_none_is_none() -> None:
    script = Script(config()).ready()
    for at_s in (1, 2):
        script.market(at_s)
        script.poll(at_s, msgspec.structs.replace(account("-5"), maintenance_margin_usd=Decimal(1)))
    assert levels(script) == ["flatten"]
    calm = Script(config()).ready()
    for at_s in (1, 2):
        calm.market(at_s).poll(at_s, account("-5"))
    assert levels(calm) == []


def test_from_its_second_level_on_nothing_is_granted_and_it_recovers_by_itself() -> None:
    script = Script(config()).ready()
    reads(script, 1, 50)
    script.granted(ask("s-1"), 2)
    reads(script, 3, 66)
    refused = script.refused(ask("s-2"), 4)
    assert (refused.code, refused.value, refused.limit) == ("margin_guard", 66, 65)
    reads(script, 5, 10)
    script.granted(ask("s-2"), 6)


def test_the_trade_that_frees_most_is_shown_before_it_is_closed() -> None:
    script = Script(config()).ready()
    short(script, "small", CALL_110, "0.1")
    short(script, "large", PUT_90, "0.4")
    before = reads(script, 1, 70)
    assert before.next_step.startswith("from 80 % on: close t-large of s, which frees about")
    planned = reads(script, 3, 81)
    assert planned.planned.startswith("close t-large of s, which frees about")
    assert planned.planned_ns == START + (4 + NOTICE_S) * SECOND == script.core.next_deadline_ns()
    read(script, 12, 81)
    assert asked(script.on(Tick(), 3 + NOTICE_S)) == []
    step = script.on(Tick(), 4 + NOTICE_S)
    (request,) = asked(step)
    told = [(each.code, each.subject) for each in step.effects if isinstance(each, RaiseAlert)]
    assert told == [("margin_reducing", "t-large")]
    assert isinstance(request.message, CloseTrade)
    assert (request.service, request.message.trade_id, request.message.requested_by) == (
        "execution",
        "t-large",
        "risk",
    )


def test_what_recovers_before_the_notice_is_over_closes_nothing() -> None:
    script = Script(config()).ready()
    short(script, "one", PUT_90, "0.4")
    reads(script, 1, 81)
    assert reads(script, 3, 70).planned == ""
    assert asked(script.on(Tick(), 60)) == []


def test_the_next_trade_waits_until_the_first_is_closed() -> None:
    script = Script(config()).ready()
    first, second = short(script, "a", PUT_90, "0.4"), short(script, "b", PUT_90, "0.2")
    reads(script, 1, 81)
    read(script, 12, 81)
    (request,) = asked(script.on(Tick(), 2 + NOTICE_S))
    accepted = CloseAccepted(trade_id=first.trade_id, state="CLOSING")
    script.on(ReplyReceived(request.request_id, accepted), 3 + NOTICE_S)
    assert guard(read(script, 20, 81)).planned == ""
    script.hear(msgspec.structs.replace(first, state="CLOSED"), 21, "execution")
    assert guard(read(script, 22, 81)).planned.startswith(f"close {second.trade_id}")


@pytest.mark.parametrize("reply", ["refused", "timed out"])
def test_a_close_in_vain_is_planned_again(reply: str) -> None:
    script = Script(config()).ready()
    short(script, "a", PUT_90, "0.4")
    reads(script, 1, 81)
    read(script, 12, 81)
    (request,) = asked(script.on(Tick(), 2 + NOTICE_S))
    answer = (
        RequestTimedOut(request.request_id)
        if reply == "timed out"
        else ReplyReceived(request.request_id, Refusal(code="not_ready", detail="starting"))
    )
    script.on(answer, 18)
    assert guard(read(script, 20, 81)).planned.startswith("close t-a")


def test_the_last_level_halts_at_flatten_after_its_notice_and_once() -> None:
    script = Script(config()).ready()
    planned = reads(script, 1, 95)
    assert planned.planned.startswith("halt at level flatten")
    read(script, 12, 95)
    (request,) = asked(script.on(Tick(), 2 + NOTICE_S))
    assert isinstance(request.message, RaiseHalt)
    assert (request.message.level, request.message.requested_by) == ("flatten", "risk")
    script.on(ReplyReceived(request.request_id, HaltsAnswered(state=halt_state(1, "flatten"))), 20)
    assert reads(script, 21, 95).planned == ""
    assert asked(script.on(Tick(), 60)) == []
    assert "margin_guard" in script.core.broken_limits
    reads(script, 61, 10)
    assert script.core.broken_limits == ()


def test_a_flatten_that_nobody_answered_is_asked_for_again_after_a_restart() -> None:
    script = Script(config()).ready()
    reads(script, 1, 95)
    read(script, 12, 95)
    (request,) = asked(script.on(Tick(), 2 + NOTICE_S))
    assert asked(script.restart(30)) == [request]


def test_beyond_the_level_up_to_which_it_acts_it_only_tells() -> None:
    script = Script(config(margin_acts_up_to="warn")).ready()
    short(script, "a", PUT_90, "0.4")
    shown = reads(script, 1, 81)
    assert (shown.level, shown.planned) == ("reduce", "")
    assert "do nothing" in shown.next_step
    script.granted(ask("s-2"), 2)
    assert asked(script.on(Tick(), 60)) == []


def test_a_trade_that_frees_nothing_or_is_closing_is_left_alone() -> None:
    script = Script(config()).ready()
    short(script, "closing", PUT_90, "0.4", state="CLOSING")
    grant = script.granted(ask("s-long"))
    script.hear(trade(grant, START, state="OPEN", grant_open=False, trade_id="t-long"), 0, "execution")
    assert reads(script, 1, 81).planned == ""


def test_each_change_of_level_is_told_with_what_follows_and_its_end() -> None:
    script = Script(config()).ready()
    short(script, "a", PUT_90, "0.4")
    told = []
    for at_s, used in ((1, 51), (2, 51), (3, 81), (4, 81), (5, 10), (6, 10)):
        told += [
            effect
            for effect in read(script, at_s, used).effects
            if isinstance(effect, RaiseAlert) and effect.code == "margin_level"
        ]
    assert [(alert.severity, alert.resolved) for alert in told] == [
        ("warning", False),
        ("critical", False),
        ("info", True),
    ]
    assert "in 15 s the guard will close t-a" in told[1].text


def test_the_level_survives_a_restart() -> None:
    script = Script(config()).ready()
    reads(script, 1, 66)
    script.restart(5)
    script.ready(5)
    assert guard(read(script, 6, 66)).level == "no_new_trades"
    rows = [entry.row for entry in script.rows]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(rows), type=list[RiskRow]) == rows


def test_thresholds_that_do_not_rise_are_refused_with_both_names() -> None:
    with pytest.raises(ValueError, match=r"margin_reduce_pct 95 must be below margin_flatten_pct 90"):
        RiskConfig(margin_reduce_pct=95.0)


@pytest.mark.parametrize("hysteresis_pct", [3.0, 5.0])
def test_a_hysteresis_below_which_the_first_level_never_ends_is_refused(hysteresis_pct: float) -> None:
    with pytest.raises(ValueError, match=rf"hysteresis_pct {hysteresis_pct:g} must be below margin_warn_pct 3"):
        RiskConfig(margin_warn_pct=3.0, margin_hysteresis_pct=hysteresis_pct)


def test_with_the_largest_hysteresis_that_is_taken_every_level_still_ends() -> None:
    script = Script(config(margin_warn_pct=3.0, margin_hysteresis_pct=2.9)).ready()
    reads(script, 1, 95)
    assert reads(script, 3, 0).level == "normal"


def test_nothing_is_done_on_figures_that_became_old_before_it_was_due() -> None:
    script = Script(config()).ready()
    reads(script, 1, 95)
    assert asked(script.on(Tick(), 2 + NOTICE_S)) == []


def test_nothing_is_done_for_a_level_that_the_newest_read_is_below() -> None:
    script = Script(config()).ready()
    reads(script, 1, 95)
    read(script, 12, 20)
    assert asked(script.on(Tick(), 2 + NOTICE_S)) == []


def test_a_level_from_before_a_restart_is_acted_on_only_when_reads_confirm_it() -> None:
    script = Script(config()).ready()
    short(script, "a", PUT_90, "0.4")
    reads(script, 1, 81)
    script.restart(30)
    script.ready(30)
    assert guard(read(script, 31, 20)).planned == ""


@pytest.mark.parametrize(
    ("now", "again_s"),
    [
        pytest.param(halt_state(4_000, "no_new_trades", raised_by="journal"), 0, id="a new journal, halted"),
        pytest.param(halt_state(4_000), 0, id="a new journal, resumed already"),
        pytest.param(halt_state(2), 25, id="an older copy of the journal"),
        pytest.param(halt_state(0), 25, id="a new journal that was begun on purpose"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_the_guard_gives_notice_and_flattens_again_when_executions_journal_lost_its_halt(
    now: HaltState, again_s: int, restarted: bool
) -> None:
    script = Script(config()).ready()
    reads(script, 1, 92)
    reads(script, NOTICE_S, 92)
    (first,) = asked(script.on(Tick(), 2 + NOTICE_S))
    script.on(ReplyReceived(first.request_id, HaltsAnswered(state=halt_state(7, "flatten", raised_by="risk"))), 20)
    script.hear(halt_state(7, "flatten", raised_by="risk"), 20, "execution")
    if restarted:
        script.restart(21)
        script.ready(21)
    script.hear(now, 22, "execution")
    for at_s in range(23, 25 + again_s):
        shown = reads(script, at_s, 92, times=1)
    assert "flatten" in shown.planned
    for at_s in range(25 + again_s, 25 + again_s + NOTICE_S):
        assert asked(read(script, at_s, 92)) == []
    (second,) = asked(script.on(Tick(), 26 + again_s + NOTICE_S))
    assert isinstance(second.message, RaiseHalt)
    assert (second.message.level, second.request_id != first.request_id) == ("flatten", True)


def test_who_lifts_the_guards_halt_while_its_last_level_holds_is_given_its_notice_again() -> None:
    script = Script(config()).ready()
    reads(script, 1, 92)
    reads(script, NOTICE_S, 92)
    (first,) = asked(script.on(Tick(), 2 + NOTICE_S))
    script.on(ReplyReceived(first.request_id, HaltsAnswered(state=halt_state(1, "flatten"))), 20)
    script.hear(halt_state(1, "flatten"), 20, "execution")
    reads(script, 21, 92)
    assert asked(script.on(Tick(), 60)) == []
    script.hear(halt_state(1), 61, "execution")
    assert "flatten" in reads(script, 62, 92).planned
    reads(script, 61 + NOTICE_S, 92)
    (second,) = asked(script.on(Tick(), 63 + NOTICE_S))
    assert second.request_id != first.request_id
