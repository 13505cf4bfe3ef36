"""What nobody raises: figures past thresholds, naked legs, expiring shorts, a venue out of reach."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.monitor.alert_config import Channel, FigureRule, KindRule, Route, filled
from services.monitor.config import MonitorConfig
from services.monitor.effects import Acknowledge, AlertRecord
from services.monitor.findings import uncovered
from shared.messages.base import Side
from shared.messages.system import Alert
from shared.messages.trades import LegStatus, OrderState, OrderUpdate, TradeUpdate
from tests.unit.monitor.desk import SECOND, START, Script, account, alert, summary, trade
from tests.unit.monitor.test_dispatch import Wire

PUT, LOWER_PUT = "BTCUSD-27MAR26-90000-P", "BTCUSD-27MAR26-80000-P"
QUIET = MonitorConfig(services=(), summary_utc="")


def quiet(**rules: FigureRule) -> Script:
    return Script(msgspec.structs.replace(QUIET, rules=rules))


def run(script: Script, from_s: int, to_s: int) -> list[AlertRecord]:
    return [record for second in range(from_s, to_s + 1) for record in script.tick(second)]


def equity(usd: int, **changes: Any) -> Any:
    return msgspec.structs.replace(account(), equity_usd=Decimal(usd), **changes)


def order(number: int, state: OrderState, at_s: float) -> OrderUpdate:
    return OrderUpdate(
        client_order_id=number,
        venue_order_id=None,
        account_id="main",
        trade_id="t1",
        leg_index=0,
        purpose="open",
        attempt=0,
        symbol=PUT,
        side="sell",
        quantity=Decimal(1),
        price=Decimal(1),
        filled_quantity=Decimal(0),
        average_price=None,
        state=state,
        reason="",
        reduce_only=False,
        created_ns=START + round(at_s * SECOND),
        updated_ns=START + round(at_s * SECOND),
    )


def spread(short_held: str, long_held: str, *, short: str = "1", long: str = "1") -> TradeUpdate:
    def leg(symbol: str, side: Side, quantity: str, held: str) -> LegStatus:
        return LegStatus(
            symbol=symbol,
            side=side,
            quantity=Decimal(quantity),
            filled_quantity=Decimal(held),
            closed_quantity=Decimal(0),
            open_price=None,
            close_price=None,
        )

    legs = (leg(PUT, "sell", short, short_held), leg(LOWER_PUT, "buy", long, long_held))
    return msgspec.structs.replace(trade("OPENING"), legs=legs)


def test_a_drawdown_warns_gets_critical_and_is_over_only_well_inside() -> None:
    script = Script(QUIET)
    script.hear(equity(79_000, peak_equity_usd=Decimal(100_000)))
    assert run(script, 1, 10) == []
    (warning,) = run(script, 11, 12)
    assert (warning.code, warning.severity, warning.subject) == ("drawdown_high", "warning", "main drawdown_pct")
    assert "drawdown pct is 21, above 20" in warning.text
    script.hear(equity(74_000, peak_equity_usd=Decimal(100_000)), 13)
    (critical,) = run(script, 13, 30)
    assert critical.severity == "critical"
    script.hear(equity(80_500, peak_equity_usd=Decimal(100_000)), 31)
    assert run(script, 31, 60) == []
    script.hear(equity(82_000, peak_equity_usd=Decimal(100_000)), 61)
    assert summary(run(script, 61, 70)) == [("drawdown_high", "main drawdown_pct", True)]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_drawdown_that_is_critical_again_after_it_was_a_warning_is_told_and_acknowledged_anew(
    restarts: bool,
) -> None:
    peak = {"peak_equity_usd": Decimal(100_000)}
    wire = Wire()
    for at_s, usd in ((0, 74_000), (31, 75_500), (61, 74_000)):
        wire.hear(equity(usd, **peak), at_s)
        wire.run(at_s, at_s + 29)
        if at_s == 0:
            wire.on(Acknowledge(alert_id=wire.core.status(START).alerts[0].alert_id, by="anna"), 30)
    told = [each.severity for each in wire.written]
    assert told == ["critical"], "it was not well inside the limit of the critical one"
    assert wire.core.status(START).alerts[0].acknowledged_by == "anna"
    wire.hear(equity(78_000, **peak), 91)
    wire.run(91, 120)
    assert wire.core.status(START).alerts[0].record.severity == "warning"
    assert len(wire.texts("phone")) == 1, "that it is less bad is told to nobody"
    if restarts:
        wire.restart(121)
        wire.hear(equity(78_000, **peak), 121)
        wire.run(121, 130)
    wire.hear(equity(74_000, **peak), 131)
    wire.run(131, 160)
    assert [each.severity for each in wire.written] == ["critical", "critical"]
    (matter,) = wire.core.status(START).alerts
    assert (matter.record.severity, matter.acknowledged_by) == ("critical", "")
    assert ["CRITICAL · Drawdown: drawdown pct is 26, above 25" in text for text in wire.texts("phone")] == [
        True,
        True,
    ]


def test_a_rule_of_ones_own_has_its_threshold_duration_severity_and_text() -> None:
    text = "only {value:.0f} USD are free, {limit:.0f} are wanted"
    rule = FigureRule(
        figure="available_margin_usd", below=98_000, over_s=0, severity="critical", text=text, kind="margin_high"
    )
    script = quiet(free=rule)
    script.hear(account())
    (record,) = run(script, 1, 5)
    assert (record.code, record.severity) == ("margin_high", "critical")
    assert record.text == "only 97000 USD are free, 98000 are wanted"


def test_a_text_that_cannot_be_filled_in_does_not_keep_an_alert_from_being_told() -> None:
    assert filled("{value:.1f} of {rule}", "plain", value=1.25, rule="mine") == "1.2 of mine"
    assert [filled(each, "plain", value=1.25) for each in ("{value:d}", "{rule}", "{", "")] == ["plain"] * 4


def test_a_figure_that_is_not_known_neither_raises_nor_ends() -> None:
    script = quiet(vega=FigureRule(figure="vega_usd", below=-1.0, over_s=0))
    script.hear(msgspec.structs.replace(account(), greeks_complete=True))
    assert len(run(script, 1, 2)) == 1
    script.hear(account(), 3)
    assert run(script, 3, 20) == []


def test_margin_counts_against_what_equity_is_left() -> None:
    script = Script(QUIET)
    script.hear(equity(1_700, peak_equity_usd=Decimal(1_700)))
    (record,) = run(script, 1, 20)
    assert (record.code, record.severity) == ("margin_high", "critical")
    script.hear(equity(-5, peak_equity_usd=Decimal(1_700)), 21)
    assert [each.code for each in run(script, 21, 40)] == ["drawdown_high"]


def test_more_than_half_of_the_orders_refused_is_told_from_five_orders_on_and_ends_when_they_are_old() -> None:
    script = Script(QUIET)
    for number in range(3):
        script.hear(order(number, "REFUSED", number), number)
    script.hear(order(3, "WORKING", 3), 3)
    assert run(script, 1, 5) == []
    script.hear(order(4, "REFUSED", 6), 6)
    (record,) = run(script, 6, 8)
    assert (record.code, record.severity) == ("rejections_high", "warning")
    script.hear(order(4, "REFUSED", 6), 9)
    assert summary(run(script, 9, 905)) == [("rejections_high", "main rejection_rate", True)]


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (spread("1", "1"), "0"),
        (spread("1", "0.4"), "0.6"),
        (spread("0", "1"), "0"),
        (spread("2", "1", short="2"), "0"),
        (spread("2", "0.5", short="2"), "0.5"),
        (trade("OPEN"), "0"),
        (msgspec.structs.replace(spread("1", "0"), execution_mode="quoting"), "0"),
    ],
)
def test_what_lacks_protection_is_what_the_structure_itself_does_not_leave_open(
    held: TradeUpdate, wanted: str
) -> None:
    assert uncovered(held) == Decimal(wanted)


def test_a_naked_leg_is_critical_once_it_lasts_and_over_once_it_is_covered() -> None:
    script = Script(QUIET)
    script.hear(spread("1", "0"), 1)
    assert run(script, 1, 10) == []
    (record,) = run(script, 11, 30)
    assert (record.code, record.severity, record.subject) == ("naked_leg", "critical", "t1")
    script.hear(spread("1", "1"), 31)
    assert summary(run(script, 31, 33)) == [("naked_leg", "t1", True)]


def test_after_a_restart_a_naked_leg_goes_on_until_execution_has_told_its_trades_and_it_is_covered() -> None:
    first = Script(QUIET)
    first.hear(spread("1", "0"), 1)
    written = run(first, 1, 30)
    again = Script(QUIET, before=written, synced=False)
    assert run(again, 31, 60) == [], "its trades are not known yet"
    again.hear(spread("1", "0"), 61)
    again.sync(61)
    assert run(again, 61, 90) == [], "it does not wait anew"
    again.hear(spread("1", "1"), 91)
    assert summary(run(again, 91, 92)) == [("naked_leg", "t1", True)]


def test_after_a_restart_a_naked_leg_of_a_trade_that_execution_knows_no_more_is_over() -> None:
    first = Script(QUIET)
    first.hear(spread("1", "0"), 1)
    again = Script(QUIET, before=run(first, 1, 30), synced=False)
    again.sync(31)
    assert summary(run(again, 31, 32)) == [("naked_leg", "t1", True)]


@pytest.mark.parametrize(("before_usd", "usd"), [(79_000, 79_000), (74_000, 74_000), (74_000, 75_500)])
def test_after_a_restart_a_figure_past_its_limit_goes_on_and_is_over_only_well_inside(
    before_usd: int, usd: int
) -> None:
    peak = {"peak_equity_usd": Decimal(100_000)}
    first = Script(QUIET)
    first.hear(equity(before_usd, **peak))
    written = run(first, 1, 30)
    again = Script(QUIET, before=written)
    assert run(again, 31, 40) == [], "the account is not known yet"
    again.hear(equity(usd, **peak), 41)
    assert run(again, 41, 70) == []
    again.hear(equity(95_000, **peak), 71)
    assert summary(run(again, 71, 72)) == [("drawdown_high", "main drawdown_pct", True)]


def test_after_a_restart_a_warning_still_gets_critical() -> None:
    peak = {"peak_equity_usd": Decimal(100_000)}
    first = Script(QUIET)
    first.hear(equity(79_000, **peak))
    again = Script(QUIET, before=run(first, 1, 30))
    again.hear(equity(70_000, **peak), 31)
    (record,) = run(again, 31, 60)
    assert (record.severity, record.resolved) == ("critical", False)


def test_after_a_restart_refused_orders_are_judged_once_execution_has_told_them() -> None:
    first = Script(QUIET)
    for number in range(5):
        first.hear(order(number, "REFUSED", number), number)
    again = Script(QUIET, before=run(first, 5, 6), synced=False)
    assert run(again, 7, 20) == []
    for number in range(5):
        again.hear(order(number, "REFUSED", number), 21)
    again.sync(21)
    assert run(again, 21, 60) == []
    assert summary(run(again, 61, 910)) == [("rejections_high", "main rejection_rate", True)]


def test_after_a_restart_reads_that_fail_again_and_again_are_over_after_half_an_hour_without() -> None:
    first = Script(QUIET)
    for at_s in (1, 100, 200):
        first.hear(alert("account_unreachable", at_s), at_s)
        first.hear(alert("account_unreachable", at_s + 1, resolved=True), at_s + 1)
    again = Script(QUIET, before=run(first, 202, 203))
    assert run(again, 204, 2_000) == []
    assert summary(run(again, 2_001, 2_100)) == [("fetches_failing", "risk", True)]


def test_two_figures_of_one_kind_of_alert_are_two_matters() -> None:
    script = quiet(free=FigureRule(figure="available_margin_usd", below=98_000, over_s=0, severity="critical"))
    script.hear(account())
    assert summary(run(script, 1, 5)) == [("margin_high", "main available_margin_usd", False)]
    script.hear(msgspec.structs.replace(account(), maintenance_margin_usd=Decimal(90_000)), 6)
    (record,) = run(script, 6, 30)
    assert (record.subject, record.severity) == ("main maintenance_margin_pct", "critical")
    script.hear(account(), 31)
    assert summary(run(script, 31, 60)) == [("margin_high", "main maintenance_margin_pct", True)]


def test_a_figure_that_is_not_known_does_not_keep_another_of_its_kind_from_ending() -> None:
    script = quiet(vega=FigureRule(figure="vega_usd", below=-1_000.0, over_s=0))
    script.hear(msgspec.structs.replace(account(), maintenance_margin_usd=Decimal(90_000)))
    assert len(run(script, 1, 20)) == 1
    script.hear(account(), 21)
    assert summary(run(script, 21, 22)) == [("margin_high", "main maintenance_margin_pct", True)]


def test_what_was_open_when_its_rule_was_taken_out_is_over() -> None:
    first = Script(QUIET)
    first.hear(equity(79_000, peak_equity_usd=Decimal(100_000)))
    written = run(first, 1, 30)
    off = FigureRule(figure="drawdown_pct", above=20, enabled=False)
    rules = {"drawdown_warning": off, "drawdown_critical": off}
    again = Script(msgspec.structs.replace(QUIET, rules=rules), before=written)
    assert summary(run(again, 31, 32)) == [("drawdown_high", "main drawdown_pct", True)]


def test_a_short_option_that_expires_within_a_day_is_told_once_and_over_when_it_is_gone() -> None:
    script = Script(QUIET)
    symbol = "BTCUSD-25FEB26-90000-P"
    short = msgspec.structs.replace(account().positions[1], symbol=symbol)
    script.hear(msgspec.structs.replace(account(), positions=(short,)))
    (record,) = run(script, 1, 5)
    assert (record.code, record.subject) == ("short_expiring", symbol)
    assert "expires in 1.8 h" in record.text
    script.hear(msgspec.structs.replace(account(), positions=()), 6)
    assert summary(run(script, 6, 9)) == [("short_expiring", symbol, True)]


def of_service(made: Alert, service: str) -> Alert:
    return msgspec.structs.replace(made, service=service)


def test_two_services_without_the_venue_are_one_critical_alert_that_says_when_it_is_maintenance() -> None:
    script = Script(QUIET)
    script.hear(of_service(alert("market_stream_down", 1), "marketdata"), 1)
    assert run(script, 1, 3) == []
    down = msgspec.structs.replace(alert("account_unreachable", 4), text="10553: server under maintenance")
    script.hear(down, 4)
    (record,) = run(script, 4, 6)
    assert (record.code, record.severity) == ("venue_unreachable", "critical")
    assert record.text.startswith("the venue is under maintenance: so say marketdata, risk")
    script.hear(alert("account_unreachable", 7, resolved=True), 7)
    assert summary(run(script, 7, 9)) == [("venue_unreachable", "main", True)]


def test_one_outage_that_ends_many_streams_is_one_failure() -> None:
    script = Script(QUIET)
    streams = [("market_stream_down", "indices"), ("market_stream_down", "chains"), ("market_data_stale", "BTCUSD")]

    def outage(at_s: float) -> None:
        for is_over in (False, True):
            for code, subject in streams:
                heard_s = at_s + 20 * is_over
                told = alert(code, heard_s, resolved=is_over)
                script.hear(msgspec.structs.replace(told, subject=subject, service="marketdata"), heard_s)

    outage(1)
    outage(100)
    assert "fetches_failing" not in [code for code, _, _ in summary(run(script, 121, 199))]
    outage(200)
    (record,) = [each for each in run(script, 221, 222) if each.code == "fetches_failing"]
    assert "failed 3 times within half an hour" in record.text


def test_reads_that_fail_again_and_again_are_told_although_each_was_over_soon() -> None:
    script = Script(QUIET)
    for at_s in (1, 100, 200):
        script.hear(alert("account_unreachable", at_s), at_s)
        script.hear(alert("account_unreachable", at_s + 1, resolved=True), at_s + 1)
    (record,) = run(script, 202, 203)
    assert (record.code, record.subject) == ("fetches_failing", "risk")
    assert summary(run(script, 204, 2_100)) == [("fetches_failing", "risk", True)]


def test_the_daily_summary_comes_once_at_its_hour_with_the_change_since_the_last() -> None:
    script = Script(msgspec.structs.replace(QUIET, summary_utc="06:20"))
    script.hear(account())
    script.hear(trade("OPEN", 10))
    assert [record.code for record in run(script, 11, 300)] == []
    (record,) = run(script, 301, 900)
    assert (record.code, record.severity, record.is_notice) == ("daily_summary", "info", True)
    assert "equity 100,012.50 USD, on mark +12.50" in record.text
    assert "1 opened, 0 closed" in record.text
    script.hear(equity(101_000), 86_000)
    ended = msgspec.structs.replace(trade("CLOSED", 86_000), closed_ns=START + 86_000 * SECOND)
    script.hear(msgspec.structs.replace(ended, fees_usd=Decimal(14), funding_usd=Decimal("0.5")), 86_000)
    (record,) = [each for each in run(script, 86_700, 86_960) if each.code == "daily_summary"]
    assert "1 closed, which made -2.00 after fees 14.00 and funding 0.50" in record.text
    assert "(+987.50 since the summary before)" in record.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kinds": {"no_such": KindRule()}}, "no_such is no alert"),
        ({"kinds": {"halted": KindRule(route="desk")}}, r"no \[monitor.routes.desk\]"),
        ({"routes": {"default": Route(channels=("pager",))}}, r"no \[monitor.channels.pager\]"),
        ({"rules": {"mine": FigureRule(figure="delta", above=1, route="desk")}}, r"no \[monitor.routes.desk\]"),
    ],
)
def test_a_name_that_is_defined_nowhere_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MonitorConfig(**fields)


def test_a_rule_or_channel_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="either above or below"):
        FigureRule(figure="delta")
    with pytest.raises(ValueError, match="it may have"):
        KindRule(text="{secret}")
    with pytest.raises(ValueError, match="brace"):
        KindRule(text="{")
    for text in ("{value:d}", "{limit!x}", "{figure:.1f}", "{rule:+}"):
        with pytest.raises(ValueError, match=r"cannot be filled in: .*\{value:.1f\}"):
            FigureRule(figure="delta", above=1, text=text)
    with pytest.raises(ValueError, match="no braces of its own"):
        FigureRule(figure="delta", above=1, text="{value:{limit}}")
    with pytest.raises(ValueError, match="cannot be filled in"):
        KindRule(text="{subject:d}")
    with pytest.raises(ValueError, match="chat_id"):
        Channel(via="telegram")


@pytest.mark.parametrize(("held", "wanted"), [("1", "0"), ("0.25", "0.75"), ("0", "1")])
def test_a_long_perpetual_lacks_the_put_that_was_bought_to_protect_it(held: str, wanted: str) -> None:
    """Both of one coin; so much is held of the put."""
    protected = spread("1", held, short="1")
    call, put = protected.legs
    bought = [
        msgspec.structs.replace(call, symbol="BTCUSD", side="buy"),
        msgspec.structs.replace(put, symbol="BTCUSD-27NOV26-90000-P", side="buy"),
    ]
    quantities = [Decimal(1), Decimal(held)]
    legs = tuple(
        msgspec.structs.replace(leg, quantity=Decimal(1), filled_quantity=quantity, closed_quantity=Decimal(0))
        for leg, quantity in zip(bought, quantities, strict=True)
    )
    assert uncovered(msgspec.structs.replace(protected, legs=legs)) == Decimal(wanted)


@pytest.mark.parametrize(("held", "wanted"), [("1", "0"), ("0.25", "0.75"), ("0", "1")])
def test_a_sold_call_lacks_the_coins_that_were_bought_to_cover_it_but_not_their_fee(held: str, wanted: str) -> None:
    """The call is of one coin; so many were bought, of which the venue kept a tenth of a per cent."""
    covered = spread("1", held)
    call, coins = covered.legs
    legs = (
        msgspec.structs.replace(call, symbol="BTCUSD-27NOV26-110000-C"),
        msgspec.structs.replace(coins, symbol="BTCUSDT", fee_quantity=Decimal(held) / 1000),
    )
    assert uncovered(msgspec.structs.replace(covered, legs=legs)) == Decimal(wanted)
