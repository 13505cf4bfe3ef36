"""What a host remembers of one strategy over restarts, whether its file loads or not."""

from __future__ import annotations

from services.strategy.rows import (
    Action,
    ActionFired,
    ClosingTold,
    OrdinalLeft,
    OrdinalUsed,
    Row,
    StrategyTold,
    TradesFollowed,
)

_CLOSINGS_KEPT = 10_000
"""As many as execution's events reach back to."""


class Memory:
    """Folded from the rows of one strategy.

    told: what a person, or a rule, last said. has_run_once: paused by its own run of one trade, so that it goes on
    working the orders of that one. ordinal_used: the highest ordinal known to have had its outcome. followed_ns:
    since when the closings of its trades are told, None while they are not. fired_ns: the last firing of each of its
    scheduled actions. close_made_before_ns: trades made up to then must be closed, by a schedule.
    """

    def __init__(self) -> None:
        self.told: Action = "resume"
        self.told_by = ""
        self.has_run_once = False
        self.ordinal_used = 0
        self.followed_ns: int | None = None
        self.fired_ns: dict[str, int] = {}
        self.close_made_before_ns = 0
        self.close_reason = ""
        self._closings_told: dict[int, None] = {}
        self._closed_by_hand: dict[str, None] = {}

    def forget(self) -> None:
        """Begin anew, as the same object."""
        self.__init__()  # type: ignore[misc]

    def apply(self, row: Row, at_ns: int) -> None:
        match row:
            case StrategyTold(action=told, requested_by=requested_by):
                self.told, self.told_by, self.has_run_once = told, requested_by, False
                if row.closed:
                    self.told_by += f", who closed {row.closed}: voldesk strategies resume {row.strategy}"
                    self._closed_by_hand[row.closed] = None
                    while len(self._closed_by_hand) > _CLOSINGS_KEPT:
                        del self._closed_by_hand[next(iter(self._closed_by_hand))]
            case OrdinalUsed(ordinal=ordinal):
                self._use_ordinal(ordinal)
            case OrdinalLeft(ordinal=ordinal):
                self.ordinal_used = max(ordinal, self.ordinal_used)
            case TradesFollowed():
                self.followed_ns = at_ns
            case ActionFired(action=action, firing_ns=firing_ns, done=done):
                self.fired_ns[action] = firing_ns
                if done and action.startswith("close: "):
                    self.close_made_before_ns = max(firing_ns, self.close_made_before_ns)
                    self.close_reason = f"scheduled {action}"
            case ClosingTold(ordinal=ordinal):
                self._closings_told[ordinal] = None
                if len(self._closings_told) > _CLOSINGS_KEPT:
                    del self._closings_told[next(iter(self._closings_told))]

    def is_closing_told(self, ordinal: int) -> bool:
        """Whether the strategy was told that its trade of this ordinal has ended."""
        return ordinal in self._closings_told

    def has_paused_for(self, trade_id: str) -> bool:
        """Whether it was paused as a person closed this trade, even if it was resumed after."""
        return trade_id in self._closed_by_hand

    def is_news(self, action: Action) -> bool:
        """A pause says more than the end of a run of one trade did: its quotes end too."""
        return self.told != action or self.has_run_once

    def _use_ordinal(self, ordinal: int) -> None:
        """An intent has its outcome at execution. A run of one trade is over with it, whatever the outcome."""
        self.ordinal_used = max(ordinal, self.ordinal_used)
        if self.told == "run_once":
            self.told, self.has_run_once = "pause", True
