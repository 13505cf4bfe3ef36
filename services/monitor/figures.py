"""Figures of the account and of orders, and the rules that judge them against thresholds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from services.monitor.alert_config import FIGURE_KINDS, MARGIN_KIND, FigureRule, filled
from shared.messages.account import AccountSnapshot
from shared.messages.system import SEVERITY_RANK, Severity
from shared.messages.trades import OrderUpdate, TradeUpdate

SECOND = 1_000_000_000
ORDER_WINDOW_NS = 900 * SECOND
ORDERS_MIN = 5
_ENDS_INSIDE = 0.05
"""A figure is inside its limit again once it is this share of the limit away from it."""

_OWN_KINDS = frozenset({MARGIN_KIND, *FIGURE_KINDS.values()})
"""Raised for figures only."""

_TAKEN = frozenset({"WORKING", "CANCELLING", "FILLED", "CANCELLED", "EXPIRED"})


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, or, with `is_over`, not wrong any more. stage: not "" where it is as bad as it was before."""

    code: str
    subject: str
    severity: Severity = "warning"
    text: str = ""
    route: str = ""
    stage: str = ""
    is_over: bool = False


class OrderOutcomes:
    """Whether the venue took or refused the orders of the last 15 minutes, each once."""

    def __init__(self) -> None:
        self._outcomes: OrderedDict[int, tuple[int, bool]] = OrderedDict()

    def note(self, order: OrderUpdate, now_ns: int) -> None:
        is_refused = order.state == "REFUSED"
        if (is_refused or order.state in _TAKEN) and order.created_ns > now_ns - ORDER_WINDOW_NS:
            self._outcomes.setdefault(order.client_order_id, (order.created_ns, is_refused))

    def rejection_rate(self, now_ns: int) -> float | None:
        """Share refused, 0 to 1; None with too few orders to judge."""
        for number in [each for each, (at_ns, _) in self._outcomes.items() if at_ns <= now_ns - ORDER_WINDOW_NS]:
            del self._outcomes[number]
        count = len(self._outcomes)
        return None if count < ORDERS_MIN else sum(refused for _, refused in self._outcomes.values()) / count


def figures_of(
    account: AccountSnapshot | None, trades: Iterable[TradeUpdate] | None, orders: OrderOutcomes, now_ns: int
) -> dict[str, float | None]:
    """Every figure that a rule may name; None where it is not known.

    trades: None while execution has not told all of its trades and orders.
    """
    figures: dict[str, float | None] = {}
    if trades is not None:
        rate = orders.rejection_rate(now_ns)
        # too few orders to judge is no state of its own: nothing is refused then
        figures["rejection_rate"] = 0.0 if rate is None else rate
        figures["open_trades"] = float(sum(not trade.is_final for trade in trades))
    if account is None:
        return figures
    equity, peak = float(account.equity_usd), float(account.peak_equity_usd)
    greeks = list(account.greeks.values()) if account.greeks_complete else None
    figures |= {
        "equity_usd": equity,
        "available_margin_usd": float(account.available_margin_usd),
        "unrealized_pnl_usd": float(account.unrealized_pnl_usd),
        "initial_margin_pct": _share_pct(float(account.initial_margin_usd), equity),
        "maintenance_margin_pct": _share_pct(float(account.maintenance_margin_usd), equity),
        "drawdown_pct": max(peak - equity, 0.0) / peak * 100 if peak > 0 else None,
        "delta": None if greeks is None else max((abs(each.delta) for each in greeks), default=0.0),
        "vega_usd": None if greeks is None else sum(each.vega for each in greeks),
        "theta_usd": None if greeks is None else sum(each.theta for each in greeks),
    }
    return figures


def _share_pct(part: float, equity: float) -> float | None:
    """Per cent of equity; with none left any part is more than all of it."""
    if equity > 0:
        return part / equity * 100
    return 1_000.0 if part > 0 else None


class _Judged(msgspec.Struct):
    since_ns: int | None = None
    is_active: bool = False
    is_begun: bool = False

    @property
    def is_undecided(self) -> bool:
        """Past its threshold, and not yet for long enough."""
        return self.since_ns is not None and not self.is_active


class FigureWatch:
    """Judges each rule once a look. A figure that is not known leaves its rules as they are.

    The rules of one figure and kind of alert are one matter, whose subject names the account and the figure.
    """

    def __init__(self, rules: Mapping[str, FigureRule], *, account_id: str) -> None:
        self._account_id = account_id
        self._judged = {name: _Judged() for name in rules}
        self._told: dict[tuple[str, str], Severity] = {}
        self._worst_rank: dict[tuple[str, str], int] = {}
        self._matters: dict[tuple[str, str], dict[str, FigureRule]] = {}
        for name, rule in rules.items():
            self._matters.setdefault((rule.code, self._subject(rule)), {})[name] = rule

    def _subject(self, rule: FigureRule) -> str:
        return f"{self._account_id} {rule.figure}"

    def look(
        self,
        figures: Mapping[str, float | None],
        now_ns: int,
        known: Mapping[tuple[str, str], Severity] | None = None,
    ) -> list[Finding]:
        """Per matter the worst rule that is broken, when another severity is due than before, or that none is.

        known: the alerts that are open, by code and subject. What is open from before the monitor's start goes on
        without waiting anew, and is over only once the figure is seen to be well inside.
        """
        known = {} if known is None else known
        found = []
        for (code, subject), rules in self._matters.items():
            value = figures.get(next(iter(rules.values())).figure)
            if value is None:
                continue
            for name, rule in rules.items():
                self._judge(rule, self._judged[name], value, now_ns, known.get((code, subject)))
            broken = [name for name in rules if self._judged[name].is_active]
            if broken:
                worst = max(broken, key=lambda name: SEVERITY_RANK[rules[name].severity])
                rule = rules[worst]
                told = self._told.get((code, subject)) or known.get((code, subject))
                if rule.severity != told:
                    # what is less bad is told to nobody, but is what the next is measured by
                    before, rank = -1 if told is None else SEVERITY_RANK[told], SEVERITY_RANK[rule.severity]
                    worst_rank = self._worst_rank.get((code, subject), before)
                    stage = f"again at {now_ns}" if before < rank <= worst_rank else ""
                    self._worst_rank[code, subject] = max(worst_rank, rank)
                    self._told[code, subject] = rule.severity
                    found.append(_finding(worst, rule, value, subject, stage))
            elif not any(self._judged[name].is_undecided for name in rules):
                self._told.pop((code, subject), None)
                self._worst_rank.pop((code, subject), None)
                found.append(Finding(code=code, subject=subject, text="inside its limits again", is_over=True))
        return found + self._unwatched(known)

    def _unwatched(self, known: Mapping[tuple[str, str], Severity]) -> list[Finding]:
        """What was open when its rule was taken out of the configuration."""
        return [
            Finding(code=code, subject=subject, text="no rule judges it any more", is_over=True)
            for code, subject in known
            if code in _OWN_KINDS and (code, subject) not in self._matters
        ]

    @staticmethod
    def _judge(rule: FigureRule, judged: _Judged, value: float, now_ns: int, known: Severity | None) -> None:
        if not judged.is_begun:
            judged.is_begun = True
            judged.is_active = known is not None and SEVERITY_RANK[known] >= SEVERITY_RANK[rule.severity]
        beyond = value - rule.limit if rule.above is not None else rule.limit - value
        if beyond > 0:
            judged.since_ns = now_ns if judged.since_ns is None else judged.since_ns
            judged.is_active = judged.is_active or now_ns - judged.since_ns >= round(rule.over_s * SECOND)
        elif not judged.is_active or beyond <= -abs(rule.limit) * _ENDS_INSIDE:
            judged.since_ns, judged.is_active = None, False


def _finding(name: str, rule: FigureRule, value: float, subject: str, stage: str) -> Finding:
    way = "above" if rule.above is not None else "below"
    figure = rule.figure.replace("_", " ")
    plain = f"{figure} is {value:,.4g}, {way} {rule.limit:,.4g} ({name})"
    text = filled(rule.text, plain, figure=figure, value=value, limit=rule.limit, rule=name)
    return Finding(code=rule.code, subject=subject, severity=rule.severity, text=text, route=rule.route, stage=stage)
