"""What comparisons with the venue found: the part of the book that remembers it."""

from __future__ import annotations

import msgspec

from services.execution import rows
from shared.messages.reconciliation import FoundDifference

DIFFERENCES_KEPT = 300


def fold_difference(
    found: dict[str, FoundDifference], row: rows.DifferenceFound | rows.DifferencesEnded, at_ns: int
) -> None:
    """Apply a row to the findings by name; past `DIFFERENCES_KEPT` the oldest goes, first of those that are over."""
    match row:
        case rows.DifferenceFound(difference=difference, trigger=trigger):
            found.pop(difference.name, None)
            found[difference.name] = FoundDifference(difference=difference, found_ns=at_ns, trigger=trigger)
            while len(found) > DIFFERENCES_KEPT:
                del found[next((name for name, each in found.items() if not each.stands), next(iter(found)))]
        case rows.DifferencesEnded(names=names):
            for name in names:
                if name in found:
                    found[name] = msgspec.structs.replace(found[name], ended_ns=at_ns)
