"""What is shown of a strategy: its state, its gates, and what to know first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.strategy.dry_run import result_text
from services.strategy.exits import ExitDesk
from services.strategy.gates import OPEN_GATES, first_closed
from services.strategy.hedging import HedgeDesk
from services.strategy.loaded import LoadFailure
from services.strategy.slot import Slot
from shared.messages.control import DryRunResult, StrategyStatus
from shared.messages.trades import TradeUpdate
from shared.strategy.views import TradeHistory


def status_of(
    slot: Slot,
    host_gates: Iterable[tuple[str, str | None]],
    history: TradeHistory,
    trades: Sequence[TradeUpdate],
    exits: ExitDesk,
    hedges: HedgeDesk,
    dry_run: DryRunResult | None,
    dry_wait: str,
    now_ns: int,
) -> StrategyStatus:
    """`host_gates`: name, and why it is closed (None: open); what they say is noted in the slot. `trades`: its own
    that are not final. dry_wait: what is missing of its dry run, "" for nothing."""
    for name, closed in host_gates:
        slot.gates.set(name, is_open=closed is None, reason=closed or OPEN_GATES[name], now_ns=now_ns)
    gates = (*slot.gates.gates, *slot.shown_gates)
    before = first_closed([gate for gate in gates if gate.name != "intent"])
    refusals = slot.refusals.shown("" if before is None else before.name, now_ns)
    return StrategyStatus(
        strategy=slot.name,
        state=slot.state(history.open_trades),
        reason=_first_reason(slot, trades, exits, hedges, dry_run, dry_wait),
        gates=(*gates, *refusals),
        trades_today=history.trades_today,
        open_trades=history.open_trades,
        next_ordinal=history.next_ordinal,
        last_closed_ns=history.last_closed_ns,
        signals_generated=slot.signals_generated,
        signals_executed=slot.signals_executed,
        updated_ns=now_ns,
        exits=tuple(exits.shown(trade) for trade in trades),
        if_broken=slot.loaded.if_broken,
        parameters=slot.loaded.parameters,
        dry_run=dry_run,
    )


def status_of_failure(failure: LoadFailure, now_ns: int) -> StrategyStatus:
    """Of a strategy whose file gave none."""
    return StrategyStatus(
        strategy=failure.name,
        state="failed",
        reason=failure.reason,
        gates=(),
        trades_today=0,
        open_trades=0,
        next_ordinal=1,
        last_closed_ns=None,
        signals_generated=0,
        signals_executed=0,
        updated_ns=now_ns,
    )


def _first_reason(
    slot: Slot,
    trades: Sequence[TradeUpdate],
    exits: ExitDesk,
    hedges: HedgeDesk,
    dry_run: DryRunResult | None,
    dry_wait: str,
) -> str:
    """What to know first: the failure; the exits of open trades, the last refusal, the first closed gate."""
    if slot.failure is not None:
        return slot.failure
    parts = ["runs once, then it is paused"] if slot.memory.told == "run_once" else []
    if slot.reload_problem:
        parts.append(f"its changed file is not used: {slot.reload_problem}")
    if dry_run is not None:
        parts.append(result_text(dry_run))
    if dry_wait:
        parts.append(dry_wait)
    parts += [f"{trade.trade_id}: {shown}" for trade in trades if (shown := exits.reason_of(trade.trade_id))]
    parts += [f"{trade.trade_id}: {told}" for trade in trades if (told := hedges.text_of(trade.trade_id))]
    if slot.last_outcome is not None and slot.last_outcome.kind != "opened":
        parts.append(f"last signal {slot.last_outcome.kind}: {slot.last_outcome.reason}")
    closed = first_closed((*slot.gates.gates, *slot.shown_gates))
    if closed is not None:
        parts.append(f"{closed.name}: {closed.reason}")
    return "; ".join(parts) or "ready"
