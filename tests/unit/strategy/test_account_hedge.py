"""The account delta hedger: what it counts, when it trades, how much, and what keeps it from trading twice."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.strategy.config import StrategyInstance
from services.strategy.loaded import LoadedStrategy
from services.strategy.loader import load_strategies
from shared.messages.account import AccountSnapshot, Position, PositionGreeks
from shared.messages.control import RequestGrant
from shared.messages.reconciliation import ForeignPosition, ReconciliationReport
from shared.messages.reducing import ReductionAccepted
from shared.messages.trades import IntentRefused, TradeUpdate
from shared.strategy import AccountDeltaHedger
from tests.unit.strategy.making import ACCOUNT_ID, NOON, SECOND, account, leg, trade
from tests.unit.strategy.test_hedging import HedgedDialogue

NAME = "account_delta_hedger"
CALL = "BTCUSD-5MAR26-100000-C"
PERPETUAL = "BTCUSD"
FIGURES: dict[str, Any] = {"band": 0.1, "interval_seconds": 10.0, "patience_seconds": 5.0}


def loaded(**parameters: Any) -> LoadedStrategy:
    found, failures = load_strategies([NAME], instances={NAME: StrategyInstance(parameters=FIGURES | parameters)})
    assert failures == []
    return found[0]


class Account(HedgedDialogue):
    """A host with the hedger, on an account whose deltas the test says. `held`: (quantity, delta) by symbol."""

    def __init__(self, held: dict[str, tuple[str, float | None]], **parameters: Any) -> None:
        super().__init__(loaded(**parameters))
        self.held = held
        self.is_read = True
        self.complete = True
        self.asked_ns: int | None = None
        self.openings = 0

    def surroundings(self, of: AccountSnapshot | None = None) -> None:
        positions = tuple(
            Position(
                symbol=symbol,
                underlying="BTCUSD",
                quantity=D(quantity),
                average_price=D(1),
                mark=1.0,
                unrealized_pnl_usd=0.0,
                greeks=None if delta is None else PositionGreeks(delta=delta),
            )
            for symbol, (quantity, delta) in self.held.items()
        )
        self.beat()
        self.market()
        if self.is_read:
            read = account(self.now_ns)
            asked_ns = read.asked_ns if self.asked_ns is None else self.asked_ns
            read = msgspec.structs.replace(read, asked_ns=asked_ns, greeks_complete=self.complete)
            of = msgspec.structs.replace(read, outstanding_grants=self.openings)
            self.hear(msgspec.structs.replace(of, positions=positions), "risk")

    def foreign(self, **quantities: str) -> None:
        found = tuple(
            ForeignPosition(
                symbol=CALL if symbol == "call" else PERPETUAL,
                done="left_alone",
                detail="",
                quantity=D(quantity),
                held_quantity=D(0),
                average_price=D(1),
            )
            for symbol, quantity in quantities.items()
        )
        self.hear(ReconciliationReport(account_id=ACCOUNT_ID, trigger="test", at_ns=NOON, differences=found))

    def why(self) -> str:
        return self.gate("account_delta", NAME).reason

    def orders(self) -> list[tuple[str, str, str, float]]:
        """Of each grant that was asked for: intent, symbol, side, coins."""
        return [
            (each.intent_id, leg.symbol, leg.side, float(leg.quantity)) for each in self.asked() for leg in each.legs
        ]


def own(side: Any, quantity: str, ordinal: int = 1, *, at_ns: int = NOON, keep: str | None = None) -> TradeUpdate:
    """An open trade of the hedger."""
    made = trade(
        strategy=f"{NAME}.hedge",
        ordinal=ordinal,
        legs=[leg(PERPETUAL, side, quantity, "100000")],
        created_ns=at_ns,
        opened_ns=at_ns,
        trade_id=f"a{ordinal}",
    )
    legs = tuple(msgspec.structs.replace(each, keep_quantity=None if keep is None else D(keep)) for each in made.legs)
    return msgspec.structs.replace(made, legs=legs)


def test_a_delta_beyond_the_band_is_sold_back_to_nothing_once_it_has_lasted() -> None:
    desk = Account({CALL: ("1", 0.5)})
    desk.ready()
    assert desk.orders() == []
    assert "adjusted in" in desk.why()
    desk.wait(6)
    assert desk.orders() == [(f"{NAME}.hedge-1", PERPETUAL, "sell", 0.5)]
    assert desk.asked()[0].strategy == f"{NAME}.hedge", "risk grants a hedge that takes away delta"
    opened = desk.give_grant()
    assert (opened.strategy, opened.hedge_of, opened.policy) == (f"{NAME}.hedge", "", "best_effort")


def test_a_delta_within_the_band_and_one_that_comes_and_goes_are_left_alone() -> None:
    desk = Account({CALL: ("1", 0.09)})
    desk.ready()
    desk.wait(30)
    for _ in range(4):
        desk.held = {CALL: ("1", 0.5)}
        desk.wait(4)
        desk.held = {CALL: ("1", 0.05)}
        desk.wait(4)
    assert desk.orders() == []
    assert desk.why().startswith("delta of the account in BTCUSD +0.0500, band 0 ± 0.1")


def test_it_trades_once_for_an_account_that_does_not_show_the_trade_yet() -> None:
    desk = Account({CALL: ("1", 0.5)})
    desk.ready()
    desk.wait(6)
    desk.give_grant()
    desk.accept("a1")
    desk.is_read = False
    desk.opened(own("sell", "0.5", at_ns=desk.now_ns))
    desk.wait(25)
    assert len(desk.orders()) == 1
    assert "not read again yet" in desk.why()
    desk.is_read = True
    desk.held = {CALL: ("1", 0.5), PERPETUAL: ("-0.5", -0.5)}
    desk.wait(25)
    assert len(desk.orders()) == 1, "what it sees now is hedged"


def test_an_account_that_was_asked_for_before_the_fill_and_arrives_after_it_is_not_hedged_again() -> None:
    desk = Account({CALL: ("1", 0.5)})
    desk.ready()
    desk.wait(6)
    desk.give_grant()
    desk.accept("a1")
    desk.asked_ns = desk.now_ns
    desk.wait(1)
    desk.opened(own("sell", "0.5", at_ns=desk.now_ns))
    desk.wait(25)
    assert len(desk.orders()) == 1
    assert "not read again yet" in desk.why()
    desk.asked_ns = None
    desk.wait(25)
    assert len(desk.orders()) == 2, "what was read after the fill counts"


def test_while_something_is_being_opened_it_waits_for_it_and_not_for_ever() -> None:
    desk = Account({CALL: ("1", 0.5)})
    desk.openings = 1
    desk.ready()
    desk.wait(60)
    assert desk.orders() == []
    assert "openings of the account: 1 under way or not seen in it yet, waited for " in desk.why()
    desk.openings = 0
    desk.wait(2)
    assert len(desk.orders()) == 1
    quoted = Account({CALL: ("1", 0.5)})
    quoted.openings = 1
    quoted.ready()
    quoted.wait(130)
    assert len(quoted.orders()) == 1


def closed_by_hand(desk: Account, by: str = "cli:ana") -> None:
    closing = msgspec.structs.replace(own("sell", "0.5"), close_by=by, close_reason="by hand")
    desk.opened(msgspec.structs.replace(closing, state="CLOSING", updated_ns=desk.now_ns))
    legs = tuple(msgspec.structs.replace(each, closed_quantity=each.filled_quantity) for each in closing.legs)
    ended = msgspec.structs.replace(closing, state="CLOSED", legs=legs)
    desk.opened(msgspec.structs.replace(ended, closed_ns=desk.now_ns, updated_ns=desk.now_ns))
    desk.held = {CALL: ("1", 0.5)}


def test_what_a_person_closes_is_not_opened_again_until_the_strategy_is_resumed() -> None:
    desk = Account({CALL: ("1", 0.5), PERPETUAL: ("-0.5", -0.5)})
    desk.opened(own("sell", "0.5"))
    desk.ready()
    closed_by_hand(desk)
    desk.wait(40)
    assert desk.orders() == []
    assert desk.status(NAME).state == "paused"
    who = f"paused by cli:ana, who closed a1: voldesk strategies resume {NAME}"
    assert f"not added to: {who}" in desk.why()
    desk.restart()
    closed_by_hand(desk)
    desk.ready()
    desk.wait(40)
    assert desk.orders() == [], "over a restart too"
    desk.command("resume", NAME)
    desk.restart()
    closed_by_hand(desk)
    desk.ready()
    desk.wait(20)
    assert [coins for *_, coins in desk.orders()] == [0.5], "told of again it does not pause again"


@pytest.mark.parametrize("by", ["execution", "risk", f"strategy {NAME}.hedge"])
def test_what_no_person_closed_pauses_nothing(by: str) -> None:
    desk = Account({CALL: ("1", 0.5), PERPETUAL: ("-0.5", -0.5)})
    desk.opened(own("sell", "0.5"))
    desk.ready()
    closed_by_hand(desk, by)
    assert desk.status(NAME).state == "running"


def test_a_close_by_hand_of_one_that_was_told_to_stop_leaves_it_stopped() -> None:
    desk = Account({CALL: ("1", 0.5), PERPETUAL: ("-0.5", -0.5)})
    desk.opened(own("sell", "0.5"))
    desk.ready()
    desk.command("stop", NAME)
    closed_by_hand(desk)
    assert desk.status(NAME).state == "stopped"


def test_two_of_them_on_one_underlying_are_not_loaded_together() -> None:
    files = {"first": {}, "second": {"underlying": "BTCUSD"}, "third": {"underlying": "ETH"}}
    instances = {
        name: StrategyInstance(file=NAME, parameters=FIGURES | parameters) for name, parameters in files.items()
    }
    found, failures = load_strategies(list(instances), instances=instances)
    assert [each.name for each in found] == ["first", "third"]
    (failure,) = failures
    assert failure.name == "second"
    assert "first keeps the account's delta in BTCUSD already" in failure.reason
    assert "leave one of them enabled" in failure.reason


def test_what_is_too_much_of_its_own_is_taken_back_and_no_opposite_is_opened() -> None:
    desk = Account({CALL: ("1", 0.2), PERPETUAL: ("-0.5", -0.5)})
    desk.opened(own("sell", "0.5"))
    desk.ready()
    desk.wait(20)
    assert desk.orders() == []
    (reduced,) = desk.reductions()
    assert (reduced.trade_id, float(reduced.keep)) == ("a1", pytest.approx(0.2))
    desk.answer(ReductionAccepted(trade_id="a1", keep=reduced.keep))
    desk.opened(own("sell", "0.5", keep="0.2"))
    desk.wait(60)
    assert len(desk.reductions()) == 1, "it is on its way"
    assert desk.count(RequestGrant) == 0


def test_what_is_not_needed_at_all_is_closed() -> None:
    desk = Account({PERPETUAL: ("-0.5", -0.5)})
    desk.opened(own("sell", "0.5"))
    desk.ready()
    desk.wait(20)
    assert {close.trade_id for close in desk.closes()} == {"a1"}


def test_it_holds_no_more_than_its_maximum_and_says_so() -> None:
    desk = Account({CALL: ("4", 2.0), PERPETUAL: ("-0.5", -0.5)}, maximum_size=0.7)
    desk.opened(own("sell", "0.5"))
    desk.ready()
    desk.wait(20)
    assert desk.orders()[0][2:] == ("sell", pytest.approx(0.2))
    full = Account({CALL: ("4", 2.0), PERPETUAL: ("-0.7", -0.7)}, maximum_size=0.7)
    full.opened(own("sell", "0.7"))
    full.ready()
    full.wait(80)
    assert full.orders() == []
    assert "hold 0.7 coins, the most" in full.why()
    assert [(each.code, each.subject) for each in full.alerts if not each.resolved] == [("hedge_off", NAME)]
    full.held = {CALL: ("4", 0.72), PERPETUAL: ("-0.7", -0.7)}
    full.wait(2)
    assert [each.resolved for each in full.alerts if each.code == "hedge_off"] == [False, True]


def test_what_a_structure_is_hedged_with_counts_and_is_not_its_own() -> None:
    hedge = own("sell", "0.5", ordinal=3)
    desk = Account({CALL: ("1", 0.5), PERPETUAL: ("-0.5", -0.5)})
    desk.opened(msgspec.structs.replace(hedge, strategy="scalper.hedge", hedge_of="t1", trade_id="h3"))
    desk.ready()
    desk.wait(30)
    assert (desk.orders(), desk.reductions(), desk.closes()) == ([], [], [])


@pytest.mark.parametrize(("counts", "sold"), [("account", [0.5]), ("desk", [])])
def test_what_is_no_trades_counts_or_not_as_configured(counts: str, sold: list[float]) -> None:
    desk = Account({CALL: ("1", 0.5)}, counts=counts)
    desk.foreign(call="1")
    desk.ready()
    desk.wait(20)
    assert [coins for *_, coins in desk.orders()][:1] == sold
    if counts == "desk":
        assert "delta of the desk in BTCUSD +0.0000" in desk.why()


def test_without_a_comparison_with_the_venue_nobody_knows_what_is_foreign() -> None:
    desk = Account({CALL: ("1", 0.5)}, counts="desk")
    desk.ready()
    desk.wait(20)
    assert desk.orders() == []
    assert "not compared positions" in desk.why()
    desk.foreign()
    desk.wait(10)
    assert len(desk.orders()) == 1


def test_a_delta_that_is_not_known_is_no_delta_and_a_person_is_told_in_time() -> None:
    desk = Account({CALL: ("1", None)})
    desk.ready()
    desk.wait(70)
    assert desk.orders() == []
    assert desk.why() == f"waiting: no delta of {CALL}"
    assert [each.code for each in desk.alerts] == ["hedge_off"]


def test_it_waits_until_risk_knows_which_coins_trades_hold() -> None:
    desk = Account({CALL: ("1", 0.4)})
    desk.complete = False
    desk.ready()
    desk.wait(10)
    assert desk.orders() == []
    assert desk.why() == "waiting: risk does not know yet which coins of spot trades hold"
    desk.complete = True
    desk.wait(10)
    assert len(desk.orders()) == 1


def test_a_pause_keeps_it_from_opening_and_not_from_taking_back() -> None:
    desk = Account({CALL: ("1", 0.5)})
    desk.command("pause", NAME)
    desk.ready()
    desk.wait(30)
    assert desk.orders() == []
    assert "not added to: paused" in desk.why()
    desk.held = {PERPETUAL: ("-0.5", -0.5)}
    desk.opened(own("sell", "0.5"))
    desk.wait(30)
    assert {close.trade_id for close in desk.closes()} == {"a1"}


def test_after_a_restart_it_knows_its_trades_by_their_name_and_asks_with_the_next_number() -> None:
    desk = Account({CALL: ("1", 0.9), PERPETUAL: ("-0.5", -0.5)})
    desk.opened(own("sell", "0.5", ordinal=4))
    desk.restart()
    desk.opened(own("sell", "0.5", ordinal=4))
    desk.ready()
    desk.wait(20)
    assert desk.orders() == [(f"{NAME}.hedge-5", PERPETUAL, "sell", pytest.approx(0.4))]
    assert desk.status(NAME).open_trades == 1


def refused(
    desk: Account,
    against: str = "a1",
    *,
    intent: str = "scalper-7",
    account_id: str = ACCOUNT_ID,
    ago_s: int = 0,
) -> None:
    """Execution has refused an opening because of a trade."""
    desk.hear(
        IntentRefused(
            intent_id=intent,
            account_id=account_id,
            code="would_net",
            detail="its delta hedge may have to buy BTCUSD",
            at_ns=desk.now_ns - ago_s * SECOND,
            against=against,
        )
    )


def left_over(delta: float = 0.08, quantity: str = "0.1", *own_too: TradeUpdate) -> Account:
    """A hedger whose trade of `quantity` was needed once; all else has this delta now, in coins."""
    desk = Account({CALL: ("1", delta), PERPETUAL: (f"-{quantity}", -float(quantity))})
    for each in (own("sell", quantity), *own_too):
        desk.opened(each)
    desk.ready()
    return desk


def closed(desk: Account) -> set[str]:
    return {each.trade_id for each in desk.closes()}


def test_it_gives_way_to_an_opening_that_was_refused_because_of_it_when_its_band_does_not_need_it() -> None:
    desk = left_over()
    desk.wait(30)
    assert closed(desk) == set(), "nobody asks for it"
    refused(desk)
    desk.wait(2)
    assert closed(desk) == {"a1"}
    (reason,) = {each.reason for each in desk.closes()}
    assert reason == "gives way to scalper-7: without its trades delta is +0.0800, within the band"
    assert (desk.orders(), desk.reductions()) == ([], [])


@pytest.mark.parametrize("delta", [0.1001, 0.15, 0.2])
def test_what_its_band_needs_it_keeps_however_often_somebody_is_refused_and_says_why(delta: float) -> None:
    desk = left_over(delta, "0.15")
    for number in range(20):
        refused(desk, intent=f"scalper-{number}")
        desk.wait(3)
        assert f"does not give way to scalper-{number}: without its trades delta would be {delta:+.4f}" in desk.why()
    assert (closed(desk), desk.orders(), desk.reductions()) == (set(), [], [])


def test_all_its_trades_give_way_together_or_none_does() -> None:
    second = own("sell", "0.05", ordinal=2)
    desk = Account({CALL: ("1", 0.09), PERPETUAL: ("-0.15", -0.15)})
    desk.opened(own("sell", "0.1"))
    desk.opened(second)
    desk.ready()
    refused(desk, "a2")
    desk.wait(2)
    assert closed(desk) == {"a1", "a2"}


@pytest.mark.parametrize("how", ["another trade", "another account", "long ago"])
def test_a_refusal_that_is_not_because_of_it_or_is_old_moves_nothing(how: str) -> None:
    desk = left_over()
    fields: dict[str, Any] = {
        "another trade": {"against": "t9"},
        "another account": {"account_id": "x"},
        "long ago": {"ago_s": 61},
    }
    refused(desk, **fields[how])
    desk.wait(5)
    assert closed(desk) == set()


def ended(desk: Account, trade_id: str = "a1") -> None:
    """Execution has closed what it held."""
    ordinal = int(trade_id[1:])
    was = own("sell", "0.1", ordinal)
    legs = tuple(msgspec.structs.replace(each, closed_quantity=each.filled_quantity) for each in was.legs)
    gone = msgspec.structs.replace(was, state="CLOSED", legs=legs, close_by=f"strategy {NAME}.hedge")
    desk.opened(msgspec.structs.replace(gone, closed_ns=desk.now_ns, updated_ns=desk.now_ns))


def test_a_delta_at_the_edge_does_not_open_and_close_for_each_refusal() -> None:
    desk = left_over()
    refused(desk)
    desk.wait(2)
    ended(desk)
    desk.held = {CALL: ("1", 0.08)}
    desk.wait(5)
    assert "band 0 ± 0.1" in desk.why()
    assert desk.status(NAME).state == "running", "no person closed it"
    # the market moves: it hedges as ever, and what it holds is left over again
    desk.held = {CALL: ("1", 0.12)}
    desk.wait(20)
    assert [coins for *_, coins in desk.orders()] == [pytest.approx(0.12)]
    desk.give_grant()
    desk.accept("a2")
    desk.opened(own("sell", "0.1", ordinal=2, at_ns=desk.now_ns))
    desk.held = {CALL: ("1", 0.08), PERPETUAL: ("-0.1", -0.1)}
    for number in range(20):
        refused(desk, "a2", intent=f"again-{number}")
        desk.wait(20)
    assert closed(desk) == {"a1"}, "not within ten minutes"
    assert "gave way before, gives way to again-19 in" in desk.why()
    for number in range(10):
        refused(desk, "a2", intent=f"later-{number}")
        desk.wait(20)
    assert closed(desk) == {"a1", "a2"}


def test_while_a_trade_of_it_is_on_its_way_it_gives_way_once_that_is_done() -> None:
    desk = left_over(0.08, "0.1")
    desk.opened(msgspec.structs.replace(own("sell", "0.1", keep="0.05"), updated_ns=desk.now_ns))
    refused(desk)
    desk.wait(3)
    assert closed(desk) == set()
    assert "gives way to scalper-7 later: a1 is being reduced to 0.05" in desk.why()
    desk.opened(msgspec.structs.replace(own("sell", "0.1"), updated_ns=desk.now_ns))
    desk.wait(3)
    assert closed(desk) == {"a1"}


def test_what_a_person_has_paused_gives_way_too_as_that_takes_back() -> None:
    desk = left_over()
    desk.command("pause", NAME)
    refused(desk)
    desk.wait(2)
    assert closed(desk) == {"a1"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"band": -1}, "band"),
        ({"interval_seconds": 4.9}, "interval_seconds 4.9 must be a number, 5 or more"),
        ({"maximum_size": 0.001}, "maximum_size"),
        ({"patience_seconds": float("nan")}, "patience_seconds"),
        ({"counts": "mine"}, "counts"),
    ],
)
def test_a_figure_that_makes_no_sense_is_refused_by_its_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AccountDeltaHedger("hedger", "BTC", **fields)
