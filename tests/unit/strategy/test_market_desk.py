"""A host reads candles, funding and samples of volatility while a condition needs them, and says when it cannot."""

from __future__ import annotations

from typing import Any

from services.strategy.loaded import LoadedStrategy
from services.strategy.rows import IvSampled
from shared.messages.conditions import EntryCondition, ExitCondition
from shared.messages.on_demand import FundingRateAnswer, GetFundingRate, GetKlines, KlinePeriod, Klines
from shared.messages.steps import ReplyReceived, RequestTimedOut, SendRequest, Tick
from shared.messages.trades import Refusal
from shared.strategy import (
    StrategyConfig,
    funding_rate,
    iv_rank,
    price_ema,
    spot_move,
    straddle,
    supertrend,
    time_window,
)
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import DAY, HOUR, NOON, SECOND, leg, trade
from tests.unit.strategy.test_market_conditions import klines

MINUTE = 60 * SECOND


def waiting_for(*entries: EntryCondition, exits: tuple[ExitCondition, ...] = ()) -> LoadedStrategy:
    config = StrategyConfig(
        name="straddler",
        legs=straddle("0.1", dte="next", side="buy"),
        entry_conditions=list(entries),
        exit_conditions=list(exits),
        check_interval_seconds=1,
    )
    return LoadedStrategy.from_config(config)


def asked(desk: Dialogue, kind: type) -> list[SendRequest]:
    return [effect for effect in desk.sent if isinstance(effect.message, kind)]


def answered(desk: Dialogue, *requests: SendRequest, moved: float = 1.0) -> None:
    """Candles that moved by this factor in the last minute."""
    for request in requests:
        ask = request.message
        assert isinstance(ask, GetKlines)
        told = klines([100_000] * (ask.periods - 2), ask.period, received_ns=desk.now_ns, running=100_000 * moved)
        desk.put(ReplyReceived(request.request_id, told, "answer"))


def test_a_strategy_opens_when_the_candles_that_it_asked_for_say_yes() -> None:
    desk = Dialogue(waiting_for(spot_move(1, minutes=5)))
    desk.ready()
    (request,) = asked(desk, GetKlines)
    assert request.service == "marketdata"
    assert request.message == GetKlines(symbol="BTCUSD", period="1m", periods=8, max_age_ms=7_500)
    assert desk.gate("spot_move").reason == "waiting: no 1m candles of BTCUSD yet"
    answered(desk, request, moved=1.005)
    desk.wait(2)
    assert not desk.gate("spot_move").open
    assert "moved +0.50 % in 5.0 min" in desk.gate("spot_move").reason
    desk.wait(15)
    first, second = asked(desk, GetKlines)
    assert first.request_id != second.request_id
    answered(desk, second, moved=1.011)
    desk.wait(2)
    assert "moved +1.10 %" in desk.gate("spot_move").reason
    assert desk.give_grant().strategy == "straddler"


def test_candles_that_do_not_come_are_missed_in_the_reason_and_asked_for_again() -> None:
    desk = Dialogue(waiting_for(spot_move(1, minutes=5)))
    desk.ready()
    answered(desk, asked(desk, GetKlines)[-1], moved=1.0)
    desk.wait(20)
    refusal = Refusal(code="venue_away", detail="no answer", remedy="ask again when the venue is back")
    desk.put(ReplyReceived(asked(desk, GetKlines)[-1].request_id, refusal, "answer"))
    desk.wait(2)
    assert desk.gate("spot_move").reason.startswith("BTCUSD moved"), "what is young still decides"
    desk.wait(181)
    last = asked(desk, GetKlines)[-1]
    desk.put(RequestTimedOut(last.request_id))
    desk.wait(1)
    gate = desk.gate("spot_move")
    assert not gate.open
    assert gate.reason.startswith("waiting: no 1m candles of BTCUSD for 3.")
    assert gate.reason.endswith("min: market data did not answer")
    desk.wait(16)
    assert asked(desk, GetKlines)[-1].request_id != last.request_id


def test_what_was_refused_for_too_many_reads_at_once_is_asked_for_before_the_others_are_again() -> None:
    periods: list[KlinePeriod] = ["1m", "5m", "15m", "30m", "1h", "4h", "1d"]
    desk = Dialogue(waiting_for(*(price_ema(2, candle=period) for period in periods)))
    desk.ready()
    first = asked(desk, GetKlines)
    assert len(first) == 7
    answered(desk, *first[:4])
    busy = Refusal(code="busy", detail="16 reads are under way", remedy="ask again later")
    for request in first[4:]:
        desk.put(ReplyReceived(request.request_id, busy, "answer"))
    desk.wait(3)
    again = asked(desk, GetKlines)[7:]
    assert [request.message for request in again] == [request.message for request in first[4:]]
    answered(desk, *again)
    desk.wait(3)
    assert len(asked(desk, GetKlines)) == 10, "each waits for its interval now"


def test_one_question_is_on_its_way_at_a_time_and_nothing_is_asked_that_nobody_needs() -> None:
    desk = Dialogue(waiting_for(spot_move(1, minutes=5), spot_move(2, minutes=60)))
    desk.ready()
    desk.wait(40)
    (request,) = asked(desk, GetKlines)
    assert isinstance(request.message, GetKlines)
    assert request.message.periods == 63, "as many as the longer one needs"
    plain = Dialogue(waiting_for(time_window(0, 24)))
    plain.ready()
    plain.wait(40)
    assert not asked(plain, GetKlines)
    assert not asked(plain, GetFundingRate)


def test_an_open_trade_keeps_the_candles_of_its_exits_when_its_file_needs_them_no_longer() -> None:
    desk = Dialogue(waiting_for(time_window(0, 1)))
    desk.ready()
    of = trade(legs=[leg("BTCUSD-12MAR26-105000-C")], exits=[spot_move(1, minutes=5), supertrend(2, 3, "down")])
    desk.opened(of)
    desk.wait(2)
    by_period = {request.message.period: request for request in asked(desk, GetKlines)}  # type: ignore[attr-defined]
    assert set(by_period) == {"1m", "1h"}
    answered(desk, by_period["1m"], moved=0.98)
    desk.wait(2)
    (close,) = desk.closes()
    assert close.reason == "BTCUSD moved -2.00 % in 5.0 min, wanted either way by 1 %"


def test_funding_is_asked_for_and_decides() -> None:
    desk = Dialogue(waiting_for(funding_rate(max_pct=0.0)))
    desk.ready()
    (request,) = asked(desk, GetFundingRate)
    told = FundingRateAnswer(
        symbol="BTCUSD", rate=-0.0001, next_funding_ns=NOON + 4 * HOUR, received_ns=desk.now_ns, age_ms=0
    )
    desk.put(ReplyReceived(request.request_id, told, "answer"))
    desk.wait(2)
    assert desk.gate("funding_rate").open
    assert desk.give_grant()


def test_an_answer_about_something_else_is_not_taken_for_candles() -> None:
    desk = Dialogue(waiting_for(spot_move(1, minutes=5)))
    desk.ready()
    other = Klines(symbol="ETHUSD", period="1m", received_ns=desk.now_ns, age_ms=0, klines=())
    desk.put(ReplyReceived(asked(desk, GetKlines)[-1].request_id, other, "answer"))
    desk.wait(2)
    assert desk.gate("spot_move").reason.startswith("waiting: no 1m candles of BTCUSD yet")


def samples(desk: Dialogue) -> list[Any]:
    return [entry.row for entry in desk.journal if isinstance(entry.row, IvSampled)]


def test_a_volatility_is_sampled_once_an_hour_and_its_rank_survives_a_restart() -> None:
    desk = Dialogue(waiting_for(iv_rank(min_pct=99, lookback_days=1, history_min_days=5 / 24)))
    desk.ready()
    for _ in range(5):
        desk.wait(5)
        desk.now_ns += HOUR
    desk.wait(3)
    assert len(samples(desk)) == 6
    assert len({row.at_ns // HOUR for row in samples(desk)}) == 6
    assert {(row.underlying, row.days) for row in samples(desk)} == {("BTCUSD", 30.0)}
    assert "samples of BTCUSD in 30 days are all 50.0 %" in desk.gate("iv_rank").reason
    desk.restart()
    desk.ready()
    assert len(samples(desk)) == 6, "the hour has its sample"
    assert "the 6 iv samples of BTCUSD in 30 days are all 50.0 %" in desk.gate("iv_rank").reason


def test_no_sample_is_taken_of_a_stale_chain() -> None:
    desk = Dialogue(waiting_for(iv_rank(min_pct=50, lookback_days=1)))
    desk.ready()
    taken = len(samples(desk))
    desk.now_ns += 2 * HOUR
    desk.put(Tick())
    assert len(samples(desk)) == taken == 1
    desk.wait(1)
    assert len(samples(desk)) == 2


def test_a_history_is_as_long_as_the_longest_lookback_and_no_longer() -> None:
    desk = Dialogue(waiting_for(iv_rank(min_pct=50, lookback_days=366)))
    core = desk.core
    hours = 400 * 24
    for hour in range(hours):
        core._market.apply(IvSampled(underlying="BTCUSD", days=30.0, at_ns=NOON - (hours - hour) * HOUR, vol=0.5))
    desk.ready()
    kept = core._market.reads.ivs["BTCUSD", 30.0].at_ns
    assert len(kept) == 367 * 24
    assert desk.now_ns - int(kept[0]) > 366 * DAY
