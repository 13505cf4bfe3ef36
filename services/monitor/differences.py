"""What comparisons with the venue found, told by kind; and each by itself what stands there and is not the desk's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.monitor.alerts import AlertBook
from services.monitor.telling import Teller
from shared.messages.reconciliation import Difference, Foreign, ForeignOrder, ReconciliationReport
from shared.messages.steps import Step

_CODE = "reconciliation_differences"
_ONE_BY_ONE = 10
"""So many that stand are told one by one within an hour. Another desk on the account, which replaces its orders all
the time, would else be told of without end."""

_HOUR_NS = 3_600_000_000_000
_LISTED = 10


class Differences:
    """One alert for each foreign order and position, until a comparison does not find it; for the other differences,
    and for what stands beyond `_ONE_BY_ONE`, one per kind, until a comparison finds none of it."""

    def __init__(self, alerts: AlertBook, teller: Teller) -> None:
        self._alerts = alerts
        self._teller = teller
        self._together: set[str] = set()

    def on_report(self, step: Step, report: ReconciliationReport, now_ns: int) -> None:
        found = self._by_subject(report, now_ns)
        for subject in self._alerts.open_of(_CODE):
            if subject not in found:
                self._teller.end(step, _CODE, subject, _over(subject, found), now_ns)
        for subject, differences in found.items():
            kind = differences[0].kind.replace("_", " ")
            text = f"the comparison with the venue ({report.trigger}) found {kind}: {_listed(differences)}"
            self._teller.tell(step, _CODE, "warning", subject, text, now_ns)

    def _by_subject(self, report: ReconciliationReport, now_ns: int) -> dict[str, list[Difference]]:
        found: dict[str, list[Difference]] = {}
        left = _ONE_BY_ONE - sum(
            each.record.code == _CODE and "/" in each.record.subject and each.first_ns > now_ns - _HOUR_NS
            for each in self._alerts.matters()
        )
        together = set()
        for difference in report.differences:
            subject = difference.kind
            if isinstance(difference, Foreign):
                own = _own_subject(difference)
                if self._alerts.is_open(_CODE, own):
                    subject = own
                elif own not in self._together and left > 0:
                    subject, left = own, left - 1
                else:
                    together.add(own)
            found.setdefault(subject, []).append(difference)
        self._together = together
        return found


def _own_subject(standing: Foreign) -> str:
    if isinstance(standing, ForeignOrder):
        return f"{standing.kind}/{standing.symbol}/{standing.venue_order_id}"
    return f"{standing.kind}/{standing.symbol}"


def _over(subject: str, found: Iterable[str]) -> str:
    """What to say when a comparison that found these does not find the subject."""
    words = subject.replace("_", " ", 1).replace("/", " ")
    others = ", but what is told by itself" if any(each.startswith(f"{subject}/") for each in found) else ""
    return f"the newest comparison with the venue finds no {words}{others}"


def _listed(differences: Sequence[Difference]) -> str:
    shown = "; ".join(_text(each) for each in differences[:_LISTED])
    more = len(differences) - _LISTED
    return shown if more <= 0 else f"{shown}; and {more} more, see: voldesk reconcile"


def _text(difference: Difference) -> str:
    text = f"{difference.symbol}: {difference.detail}"
    if isinstance(difference, ForeignOrder):
        price = f" at {difference.price:f}" if difference.price else ""
        text += f", to {difference.side} {difference.quantity:f}{price}"
    return text
