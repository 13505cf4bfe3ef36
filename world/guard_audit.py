"""What risk should not have granted, judged from its own journal and from what was published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from services.risk.config import RiskConfig
from services.risk.reservations import strategy_of
from services.risk.rows import BreachFound, BreakerMoved, GrantIssued, MarginLevelMoved
from services.risk.states import MARGIN_LEVELS
from shared.bus.frames import Frame
from shared.messages.account import AccountSnapshot
from shared.messages.risk import MarginLevel
from shared.messages.steps import Entry
from shared.messages.trades import Grant, IntentRefused, TradeUpdate
from world.faults import MS
from world.violations import Violation

_BETWEEN_READS = Decimal("0.0002")
_CENT = Decimal("0.01")
_POINT_PCT = 0.05
"""By how many points a fall may differ from what risk measures, which takes a peak of two reads that agree."""


def breaker_violations(
    entries: Iterable[Entry], published: Iterable[Frame], config: RiskConfig, *, clock_holds: bool
) -> Iterator[Violation]:
    """Grants that an open breaker should have refused, and a second one that a half open one should have.

    clock_holds: the clock of the machine was never set, so that times of processes can be compared: without it the
    trial of a half open breaker is not judged.
    """
    states: dict[tuple[str, str], str] = {}
    trials: dict[tuple[str, str], list[Grant]] = {}
    ended_ns = _ends(published) if clock_holds else {}
    for entry in entries:
        match entry.row:
            case BreakerMoved(name=name, subject=subject, state=state):
                states[name, subject] = state
                trials[name, subject] = []
            case GrantIssued(grant=grant):
                for key, held in states.items():
                    if held == "closed" or key[1] not in ("", strategy_of(grant.intent_id)):
                        continue
                    of = f"{key[0]} of {key[1] or 'the account'}"
                    if held == "open":
                        yield Violation("breakers_hold", f"{grant.intent_id} was granted while {of} was open")
                    if clock_holds:
                        for other in trials[key]:
                            if _is_under_way(other, grant, entry.at_ns, ended_ns, config):
                                text = f"{grant.intent_id} was granted beside {other.intent_id}, the trial of {of}"
                                yield Violation("breakers_hold", text)
                    trials[key].append(grant)
            case _:
                pass


def _ends(published: Iterable[Frame]) -> dict[str, int]:
    """When execution first told that an intent's trade was over, or that it was refused for good."""
    ended_ns: dict[str, int] = {}
    for frame in published:
        message = frame.message
        if isinstance(message, IntentRefused) or (isinstance(message, TradeUpdate) and message.is_final):
            ended_ns.setdefault(message.intent_id, frame.header.published_ns)
    return ended_ns


def _is_under_way(other: Grant, grant: Grant, at_ns: int, ended_ns: Mapping[str, int], config: RiskConfig) -> bool:
    """Whether the trade of an earlier grant, or the grant itself, was not over when the next one was given."""
    if other.intent_id == grant.intent_id:
        return False
    if other.intent_id in ended_ns:
        return ended_ns[other.intent_id] > at_ns
    unused_ns = min(other.deadline_ns, other.issued_ns + config.grant_ttl_ms * MS)
    return at_ns < unused_ns + config.grant_release_delay_ms * MS


def margin_violations(entries: Iterable[Entry], config: RiskConfig) -> Iterator[Violation]:
    """Levels of the margin guard that moved without cause or twice at once, and grants from `no_new_trades` on."""
    thresholds: Sequence[float] = (
        0.0,
        config.margin_warn_pct,
        config.margin_no_new_trades_pct,
        config.margin_reduce_pct,
        config.margin_flatten_pct,
    )
    level: MarginLevel = "normal"
    moved: tuple[int, float] | None = None
    acts = MARGIN_LEVELS.index(config.margin_acts_up_to) >= MARGIN_LEVELS.index("no_new_trades")
    for entry in entries:
        match entry.row:
            case MarginLevelMoved(level=to, utilisation_pct=used_pct):
                before, after = MARGIN_LEVELS.index(level), MARGIN_LEVELS.index(to)
                what = f"the margin guard went from {level} to {to} at {used_pct:.2f} %"
                # two reads may be looked at in one moment, and are told apart by what they show
                if moved == (entry.at_ns, used_pct):
                    yield Violation("guard_steady", f"{what}, twice at one read")
                if after > before and used_pct < thresholds[after]:
                    yield Violation("guard_steady", f"{what}, below {thresholds[after]:g} %")
                kept_pct = min(thresholds[after + 1 : before + 1], default=0.0) - config.margin_hysteresis_pct
                if after < before and used_pct > kept_pct:
                    yield Violation("guard_steady", f"{what}, not yet below {kept_pct:g} %")
                level, moved = to, (entry.at_ns, used_pct)
            case GrantIssued(grant=grant) if acts and MARGIN_LEVELS.index(level) >= 2:
                yield Violation("guard_steady", f"{grant.intent_id} was granted at level {level}")
            case _:
                pass


class AccountRead(msgspec.Struct, frozen=True):
    """What a read of the account had in it: the equity, the sum of all that had been paid in (> 0) and out, and in
    how many payments."""

    equity_usd: Decimal
    paid_usd: Decimal
    payments: int = 0


def transfer_violations(
    entries: Iterable[Entry],
    accounts: Iterable[AccountSnapshot],
    reads: Mapping[int, AccountRead],
    config: RiskConfig,
) -> Iterator[Violation]:
    """Peaks and falls of equity that come from money paid in or out.

    accounts: what risk told of the account. reads: by when each was received, in order.
    """
    highest: dict[int, Decimal] = {}
    peak = start = Decimal(0)
    worst = {"drawdown": 0.0, "daily_loss": 0.0}
    before: AccountRead | None = None
    # with each payment risk moves its peak in proportion to the equity that it had read last, to a whole cent: which
    # read that was, and what equity did until the payment, nobody knows
    rounded = _CENT
    for received_ns, read in reads.items():
        if before is None:
            start = read.equity_usd
        else:
            earlier = peak
            peak, start = (_moved(mark, before, read) for mark in (peak, start))
            payments = read.payments - before.payments
            if payments:
                rounded = rounded * (max(Decimal(1), peak / earlier) if earlier > 0 else Decimal(1))
                rounded += _BETWEEN_READS * peak * payments
        before = read
        if read.equity_usd >= peak + rounded:
            rounded = _CENT
        peak = max(peak, read.equity_usd)
        highest[received_ns] = peak + rounded
        for code, mark in (("drawdown", peak), ("daily_loss", start)):
            worst[code] = max(worst[code], float((mark - read.equity_usd) / mark) * 100 if mark > 0 else 0.0)
    for shown in accounts:
        most = highest.get(shown.received_ns)
        if most is not None and shown.peak_equity_usd > most:
            paid_usd = reads[shown.received_ns].paid_usd
            text = f"the peak is {shown.peak_equity_usd} with {paid_usd} paid in, and {most} would be the most"
            yield Violation("transfers_are_no_gain", text)
    limits = {"drawdown": config.max_drawdown_pct, "daily_loss": config.max_daily_loss_pct}
    for entry in entries:
        if isinstance(entry.row, BreachFound) and entry.row.code in limits:
            code = entry.row.code
            if worst[code] < limits[code] - _POINT_PCT:
                text = f"{entry.row.detail}, and trading lost no more than {worst[code]:.2f} %"
                yield Violation("transfers_are_no_gain", text)


def _moved(mark: Decimal, before: AccountRead, after: AccountRead) -> Decimal:
    """The most that a mark may be after what was paid in or out between two reads: it moves in proportion to equity,
    and nobody knows whether equity moved by trading before or after that."""
    paid = after.paid_usd - before.paid_usd
    if not paid:
        return mark
    shares = [
        (held + paid) / held for held in (before.equity_usd, after.equity_usd - paid) if held > 0 and held + paid > 0
    ]
    return max((mark * share for share in shares), default=mark + paid)


def refusal_violations(published: Iterable[Frame], opened: Iterable[str]) -> Iterator[Violation]:
    """Intents that were told to be refused for good and opened a trade all the same. opened: intents with a trade."""
    with_trade = set(opened)
    for frame in published:
        if isinstance(frame.message, IntentRefused) and frame.message.intent_id in with_trade:
            intent_id, code = frame.message.intent_id, frame.message.code
            yield Violation(
                "refusal_is_final", f"{intent_id} was told to be refused for good ({code}) and has a trade"
            )
