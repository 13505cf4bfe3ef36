"""What the desk says on a phone: short plain lines, made of the monitor's status."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from services.monitor.alerts import Matter
from services.monitor.ended import made_by
from services.monitor.flattening import flatten_progress
from services.monitor.history.sampled import SampledRow
from services.monitor.history.sampled_report import SampledPnl
from services.monitor.views import ServiceView, Status
from shared.messages.alert_kinds import title_of
from shared.messages.base import Message
from shared.messages.control import Gate, HaltsAnswered, StrategyCommandDone, StrategyStatus
from shared.messages.risk import LimitUse
from shared.messages.trades import CloseAccepted, Refusal, TradeStory, TradeUpdate
from shared.views import clock_text, duration_text, foreign_text, pnl_before_fees_usd

_DAY_NS = 86_400_000_000_000
_LINES_MAX = 20
_DAYS_TOLD = 7
_FALL_SHOWN_PCT = 0.05
_TEXT_MAX = 3_500

_HELP_VIEW = """/status what runs and what is wrong
/pnl [7 d] equity and profit by strategy, or what was made in a span
/positions what the account holds
/trades open trades, /trade ID one of them
/strategies states
/risk limits and their use
/why [STRATEGY or TRADE] why it does or does not
/chart [equity|pnl] [7 d] equity, and profit by strategy
/alerts open alerts"""
_HELP_OPERATE = """/ack ID I see to this alert
/pause STRATEGY|all open nothing new
/halt [cancel_all] [REASON] stop opening, at once
with a code:
/resume STRATEGY|all|desk
/close TRADE
/flatten close every trade"""


def help_text(may_operate: bool) -> str:
    return f"{_HELP_VIEW}\n{_HELP_OPERATE}" if may_operate else _HELP_VIEW


def status(now: Status) -> str:
    """The desk on one screen."""
    wrong = [f"{view.name} {_state(view)}" for view in now.services if _state(view)]
    lines = ["services: " + (", ".join(wrong) if wrong else f"all {len(now.services)} are ready")]
    if now.halts is None:
        lines.append("halts: execution was not heard yet")
    elif now.halts.halts:
        lines += [f"HALTED {halt.level} by {halt.raised_by}: {halt.reason}" for halt in now.halts.halts]
        lines += filter(None, [flatten_progress(now)])
    else:
        lines.append("no halt is in force")
    lines += _account_lines(now)
    lines.append(f"open trades: {sum(not trade.is_final for trade in now.trades)}")
    lines += [f"{each.strategy}: {each.state}" for each in now.strategies]
    open_now = [matter for matter in now.alerts if matter.is_open]
    lines.append(f"open alerts: {len(open_now)}" + (" (/alerts)" if open_now else ""))
    lines += [alert_line(matter) for matter in open_now[:5]]
    return _text(lines)


def pnl(now: Status) -> str:
    """Equity, then each strategy after fees and funding: open trades on mark, and those that ended today. What was
    made in a longer time is told by `pnl_over`: the monitor remembers only the newest trades."""
    marks = _marks(now)
    lines = _account_lines(now)
    today_ns = now.now_ns - now.now_ns % _DAY_NS
    ended = now.ended_since(today_ns)
    for name in sorted({trade.strategy for trade in now.trades} | {each.strategy for each in ended}):
        own = [trade for trade in now.trades if trade.strategy == name]
        parts = [f"{name}:"]
        live = [trade for trade in own if not trade.is_final]
        if live:
            known = [value - float(trade.fees_usd + trade.funding_usd) for trade, value in _on_mark(live, marks)]
            missing = f" ({len(live) - len(known)} without mark)" if len(known) < len(live) else ""
            parts.append(f"open {sum(known):+,.2f}{missing},")
        closed = made_by(each for each in ended if each.strategy == name)
        fees = closed.fees_usd + sum((trade.fees_usd for trade in live), Decimal(0))
        funding = closed.funding_usd + sum((trade.funding_usd for trade in live), Decimal(0))
        parts.append(f"today {closed.net_usd:+,.2f} ({closed.count}), {_paid(fees, funding)}")
        lines.append(" ".join(parts))
    if len(lines) == len(_account_lines(now)):
        lines.append("no trade yet")
    return _text([*lines, "USD, after fees and funding. A longer time: /pnl 7 d"])


def _on_mark(trades: list[TradeUpdate], marks: Mapping[str, float]) -> list[tuple[TradeUpdate, float]]:
    """Those whose legs all have a mark, with their P&L before fees."""
    found = [(trade, pnl_before_fees_usd(trade, marks)) for trade in trades]
    return [(trade, value) for trade, value in found if value is not None]


def pnl_over(span: str, found: SampledPnl) -> str:
    """What was made in a span, by strategy, from the history."""
    rows = sorted(found.by_strategy, key=lambda row: -row.net_usd)
    if not rows:
        return f"{span}: no trade was sampled in that time"
    lines = [f"{span}, net of fees and funding, on mark:"]
    lines += [f"{row.group or 'earlier trades'}: {_made(row)}" for row in rows]
    if len(rows) > 1:
        lines.append(f"total: {_made(found.total)}")
    days = [row for row in found.by_day if row.trades][:_DAYS_TOLD]
    if len(days) > 1:
        lines.append("by day: " + ", ".join(f"{row.group[5:]} {row.net_usd:+,.2f}" for row in days))
    return _text([*lines, "USD; of what the monitor sampled. voldesk pnl has the journal's"])


def _made(row: SampledRow) -> str:
    trades = f"{row.trades} trade{'' if row.trades == 1 else 's'}"
    return f"{row.net_usd:+,.2f} ({trades}, {_paid(row.fees_usd, row.funding_usd)})"


def _paid(fees_usd: float | Decimal, funding_usd: float | Decimal) -> str:
    """Fees, and funding where there was any; paid > 0."""
    return f"fees {fees_usd:,.2f}" + (f", funding {funding_usd:,.2f}" if funding_usd else "")


def positions(now: Status) -> str:
    if now.account is None:
        return "the account was not read yet"
    lines = []
    for held in now.account.positions:
        mark = "no mark" if held.mark is None else f"mark {held.mark:,.6g}"
        on_mark = "" if held.unrealized_pnl_usd is None else f", {held.unrealized_pnl_usd:+,.2f} USD"
        delta = "" if held.greeks is None else f", delta {held.greeks.delta:+.3f}"
        lines.append(f"{held.quantity:+f} {held.symbol} at {held.average_price:f}, {mark}{on_mark}{delta}")
    for underlying, greeks in sorted(now.account.greeks.items()):
        lines.append(
            f"{underlying}: delta {greeks.delta:+.3f}, gamma {greeks.gamma:+.2g}, "
            f"vega {greeks.vega:+,.1f}, theta {greeks.theta:+,.1f}"
        )
    lines += [f"no trade's: {foreign_text(each)}" for each in now.foreign]
    return _text(lines or ["no position"])


def trades(now: Status) -> str:
    """Open trades, then the newest that are over."""
    marks = _marks(now)
    live = [trade for trade in now.trades if not trade.is_final]
    over = [trade for trade in now.trades if trade.is_final][:5]
    lines = [_trade_line(trade, marks) for trade in live] or ["no open trade"]
    return _text([*lines, *(f"over: {_trade_line(trade, marks)}" for trade in over)])


def trade(one: TradeUpdate, now: Status) -> str:
    lines = [_trade_line(one, _marks(now))]
    for leg in one.legs:
        price = "" if leg.open_price is None else f" at {leg.open_price:f}"
        lines.append(f"{leg.side} {leg.quantity:f} {leg.symbol}{price}, holds {leg.held_quantity:f}")
    if one.opened_ns is not None:
        lines.append(f"opened {clock_text(one.opened_ns)} UTC by {one.execution_mode}")
    if one.hard_deadline_ns is not None and not one.is_final:
        left = duration_text(max(0, one.hard_deadline_ns - now.now_ns) / 1e9)
        lines.append(f"closed by itself in {left} at the latest")
    funding = f", funding {one.funding_usd:,f} USD" if one.funding_usd else ""
    lines.append(f"realised {one.realized_pnl_usd:+,f} USD, fees {one.fees_usd:,f} USD{funding}")
    if one.reason:
        lines.append(one.reason)
    for strategy in now.strategies:
        for exits in strategy.exits:
            if exits.trade_id == one.trade_id:
                lines += [_gate_line(gate, "CLOSE" if gate.open else "hold") for gate in exits.conditions]
    return _text(lines)


def strategies(now: Status) -> str:
    lines = [
        f"{each.strategy}: {each.state}, {each.open_trades} open, {each.trades_today} today; {_waits_for(each)}"
        for each in now.strategies
    ]
    return _text(lines or ["no strategy was heard yet"])


def risk(now: Status) -> str:
    """The margin, then the limits that are used most, as risk publishes them."""
    lines = _account_lines(now)
    if now.limits is None:
        return _text([*lines, "risk has published no limits yet"])
    if now.limits.grants_refused:
        lines.append(f"no grant now: {now.limits.grants_refused}")
    if (guard := now.limits.margin_guard) is not None:
        lines.append(f"margin guard: {guard.level}" + (f"; {guard.planned}" if guard.planned else ""))
        if guard.next_step:
            lines.append(f"next: {guard.next_step}")
    for breaker in now.limits.breakers:
        if breaker.state != "closed":
            lines.append(f"breaker {breaker.name} {breaker.subject} {breaker.state}: {breaker.reason}")
    measured = [limit for limit in now.limits.limits if limit.use_pct is not None]
    measured.sort(key=lambda limit: -(limit.use_pct or 0.0))
    lines += [_limit_line(limit) for limit in measured[:12]]
    return _text(lines)


def why(now: Status, name: str) -> str:
    """Gates that are closed, exits of open trades, and what risk refused last."""
    chosen = [each for each in now.strategies if name in ("", each.strategy)]
    if not chosen:
        names = ", ".join(each.strategy for each in now.strategies) or "none was heard yet"
        return f"{name[:40]} is no strategy and no trade that is known; strategies: {names}"
    lines: list[str] = []
    for each in chosen:
        lines.append(f"{each.strategy} is {each.state}{f': {each.reason}' if each.reason else ''}")
        closed = [gate for gate in each.gates if not gate.open]
        lines += [_gate_line(gate, "waits") for gate in closed]
        if each.gates and not closed:
            lines.append("every gate is open: it opens at its next look")
        for exits in each.exits:
            lines.append(f"trade {exits.trade_id} {exits.state}{f': {exits.closing}' if exits.closing else ''}")
            if name:
                lines += [_gate_line(gate, "CLOSE" if gate.open else "hold") for gate in exits.conditions]
    for refusal in now.refusals[:3]:
        if name in ("", refusal.refused.strategy):
            lines.append(
                f"risk refused {refusal.refused.intent_id}: {refusal.refused.code}, {refusal.refused.detail}"
            )
    return _text(lines)


def alerts(now: Status) -> str:
    lines = [alert_line(matter) for matter in now.alerts if matter.is_open]
    lines += [
        f"channel {each.name} fails: {each.reason}" for each in now.channels if each.failing_since_ns is not None
    ]
    return _text(lines or ["no alert is open"])


def alert_line(matter: Matter) -> str:
    seen = f" (seen to by {matter.acknowledged_by})" if matter.acknowledged_by else ""
    record = matter.record
    return f"{record.severity} {title_of(record.code)}: {record.text[:160]}{seen} #{matter.alert_id}"


def open_ids(now: Status) -> str:
    return ", ".join(trade.trade_id for trade in now.trades if not trade.is_final) or "none"


def legs(one: TradeUpdate) -> str:
    """What the trade holds, signed: bought > 0, sold < 0."""
    held = [(1 if leg.side == "buy" else -1) * leg.held_quantity for leg in one.legs]
    return ", ".join(f"{each:+f} {leg.symbol}" for each, leg in zip(held, one.legs, strict=True))


def answer_of(message: Message) -> str:
    """What a service answered, in words."""
    match message:
        case Refusal():
            return f"refused: {message.detail} ({message.code}){f'; {message.remedy}' if message.remedy else ''}"
        case HaltsAnswered(state=state):
            levels = ", ".join(halt.level for halt in state.halts)
            return f"halts in force: {levels}" if levels else "no halt is in force"
        case CloseAccepted():
            return f"trade {message.trade_id} is {message.state}"
        case StrategyCommandDone(strategies=names):
            return f"done for {', '.join(names) or 'none'}"
        case TradeStory():
            newest = [f"{clock_text(line.at_ns)} {line.text}" for line in message.lines[-_LINES_MAX:]]
            return _text([f"{message.trade.trade_id} of {message.trade.strategy} is {message.trade.state}", *newest])
        case _:
            return f"answered with {type(message).__name__}"


def _account_lines(now: Status) -> list[str]:
    account = now.account
    if account is None:
        return ["the account was not read yet"]
    equity = account.equity_usd
    peak = account.peak_equity_usd
    fall_pct = (peak - equity) / peak * 100 if peak > equity > 0 else 0
    fall = f", {fall_pct:.1f} % below its peak" if fall_pct >= _FALL_SHOWN_PCT else ""
    lines = [f"equity {equity:,.2f} USD{fall}, on mark {account.unrealized_pnl_usd:+,.2f}"]
    if equity > 0:
        initial, maintenance = account.initial_margin_usd / equity, account.maintenance_margin_usd / equity
        lines.append(f"margin: initial {initial * 100:.1f} %, maintenance {maintenance * 100:.1f} % of equity")
    age_s = (now.now_ns - account.received_ns) / 1e9
    if age_s > 30:
        lines.append(f"(the account is {duration_text(age_s)} old)")
    return lines


def _state(view: ServiceView) -> str:
    """What is wrong with it, "" when nothing is."""
    if view.is_down:
        return "DOWN"
    if view.heartbeat is None:
        return "not heard yet"
    return "" if view.heartbeat.ready else f"not ready ({view.heartbeat.detail})"


def _marks(now: Status) -> dict[str, float]:
    held = () if now.account is None else now.account.positions
    return {position.symbol: position.mark for position in held if position.mark is not None}


def _trade_line(one: TradeUpdate, marks: dict[str, float]) -> str:
    value = pnl_before_fees_usd(one, marks)
    paid = float(one.fees_usd + one.funding_usd)
    after = "after fees and funding" if one.funding_usd else "after fees"
    profit = "no mark" if value is None else f"{value - paid:+,.2f} USD {after}"
    return f"{one.trade_id} {one.strategy} {one.state}, {profit}: {legs(one) if not one.is_final else one.reason}"


def _waits_for(each: StrategyStatus) -> str:
    closed = [f"{gate.name}: {gate.reason}" for gate in each.gates if not gate.open]
    return each.reason or "; ".join(closed) or "every gate is open"


def _gate_line(gate: Gate, word: str) -> str:
    return f"- {word} {gate.name}: {gate.reason}"


def _limit_line(limit: LimitUse) -> str:
    subject = f" {limit.subject}" if limit.subject else ""
    return f"{limit.use_pct:.0f} % {limit.name}{subject}: {limit.value:,.6g} of {limit.limit:,.6g} {limit.unit}"


def _text(lines: list[str]) -> str:
    """Within what a message takes; what is more is said to be."""
    taken: list[str] = []
    length = 0
    for number, line in enumerate(lines):
        if length + len(line) > _TEXT_MAX:
            return "\n".join([*taken, f"... and {len(lines) - number} more"])
        taken.append(line)
        length += len(line) + 1
    return "\n".join(taken)
