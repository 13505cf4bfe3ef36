"""The guard in the world: what breakers, margin levels and transfers must and must not do, as its audit sees it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from services.risk.config import RiskConfig
from services.risk.rows import BreakerMoved, GrantIssued, MarginLevelMoved
from shared.bus.frames import Frame, Header
from shared.messages.risk import BreakerState, MarginLevel
from shared.messages.steps import Entry
from shared.messages.trades import Grant, IntentRefused
from tests.simulation.test_world import calm_desk
from world.faults import SECOND
from world.guard_audit import AccountRead, breaker_violations, margin_violations, transfer_violations

pytestmark = pytest.mark.simulation

CONFIG = RiskConfig(grant_ttl_ms=60_000, grant_release_delay_ms=5_000)


def granted(intent_id: str, at_s: int) -> Entry:
    grant = Grant(
        grant_id=intent_id,
        intent_id=intent_id,
        account_id="sim",
        legs=(),
        deadline_ns=(at_s + 60) * SECOND,
        halt_epoch=0,
        issued_ns=at_s * SECOND,
        margin_usd=0.0,
        max_loss_usd=None,
    )
    return Entry(at_s * SECOND, "", GrantIssued(grant=grant))


def moved(at_s: int, state: BreakerState, subject: str = "") -> Entry:
    row = BreakerMoved(name="consecutive_losses", subject=subject, state=state, reason="drill")
    return Entry(at_s * SECOND, "", row)


def level(at_s: int, to: MarginLevel, used_pct: float) -> Entry:
    return Entry(at_s * SECOND, "", MarginLevelMoved(level=to, utilisation_pct=used_pct))


def over(intent_id: str, at_s: int) -> Frame:
    message = IntentRefused(intent_id=intent_id, account_id="sim", code="no", detail="", at_ns=at_s * SECOND)
    header = Header(
        publisher="execution",
        epoch=1,
        sequence=1,
        message_id="m",
        cause_id="",
        published_ns=at_s * SECOND,
    )
    return Frame("exec.sim.intent", header, message)


def judged(*entries: Entry, published: tuple[Frame, ...] = (), clock_holds: bool = True) -> list[str]:
    found = breaker_violations(entries, published, CONFIG, clock_holds=clock_holds)
    return [violation.text for violation in found]


def test_a_grant_is_wrong_while_a_breaker_of_its_subject_is_open_and_right_after_it() -> None:
    assert judged(moved(1, "open"), granted("a-1", 2)) == [
        "a-1 was granted while consecutive_losses of the account was open"
    ]
    assert judged(moved(1, "open"), moved(2, "closed"), granted("a-1", 3)) == []
    assert judged(moved(1, "open", "b"), granted("a-1", 2)) == []
    assert len(judged(moved(1, "open", "a"), granted("a-1", 2))) == 1


def test_half_open_one_grant_is_right_and_a_second_one_only_when_the_first_is_over() -> None:
    first, second = granted("a-1", 2), granted("b-1", 10)
    assert judged(moved(1, "half_open"), first) == []
    assert len(judged(moved(1, "half_open"), first, second)) == 1
    assert judged(moved(1, "half_open"), first, second, published=(over("a-1", 9),)) == []
    assert len(judged(moved(1, "half_open"), first, second, published=(over("a-1", 11),))) == 1
    assert judged(moved(1, "half_open"), first, granted("b-1", 70)) == [], "it was never used"
    assert judged(moved(1, "half_open"), first, second, clock_holds=False) == []


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ([level(1, "warn", 50.0), level(3, "normal", 44.9)], 0),
        ([level(1, "warn", 49.9)], 1),
        ([level(1, "warn", 50.0), level(3, "normal", 45.1)], 1),
        ([level(1, "reduce", 85.0), level(3, "warn", 59.9)], 0),
        ([level(1, "reduce", 85.0), level(3, "warn", 60.1)], 1),
        ([level(1, "warn", 70.0), level(1, "no_new_trades", 70.0)], 1),
        ([level(1, "no_new_trades", 70.0), granted("a-1", 2)], 1),
        ([level(1, "warn", 55.0), granted("a-1", 2)], 0),
    ],
)
def test_levels_move_at_their_thresholds_once_per_read_and_refuse_from_no_new_trades_on(
    entries: list[Entry], wrong: int
) -> None:
    assert len(list(margin_violations(entries, CONFIG))) == wrong


def test_a_guard_that_only_tells_may_grant_at_any_level() -> None:
    tells = msgspec.structs.replace(CONFIG, margin_acts_up_to="warn")
    assert list(margin_violations([level(1, "flatten", 95.0), granted("a-1", 2)], tells)) == []


def test_a_peak_that_payments_move_to_whole_cents_is_no_gain() -> None:
    desk = calm_desk()
    desk.engine.run_until(desk.engine.now_ns + 10 * SECOND)
    read = AccountRead(equity_usd=Decimal(100_000), paid_usd=Decimal(0))
    reads = {
        number: msgspec.structs.replace(read, paid_usd=Decimal(number % 2), payments=number) for number in range(9)
    }

    def told(peak_usd: str) -> list[str]:
        shown = msgspec.structs.replace(
            desk.bus.accounts[-1], received_ns=max(reads), peak_equity_usd=Decimal(peak_usd)
        )
        return [each.invariant for each in transfer_violations((), (shown,), reads, CONFIG)]

    assert told("100000.04") == [], "each of eight payments may have rounded it up"
    assert told("100100") == [], "or was noted by a read of another moment"
    assert told("100300") == ["transfers_are_no_gain"]
    reads[9] = AccountRead(equity_usd=Decimal(110_000), paid_usd=Decimal(0), payments=9)
    assert told("110000.01") == []
    assert told("110010") == ["transfers_are_no_gain"], "a new peak is known to the cent"
