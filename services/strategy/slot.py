"""One strategy in its host: its instance, what it was told, its intent in flight, and its failures kept to itself."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import get_args

from services.strategy.asking import Asking
from services.strategy.config import StrategyHostConfig
from services.strategy.flight import Flight
from services.strategy.gates import GateBook, Refusals
from services.strategy.loaded import LoadedStrategy
from services.strategy.memory import Memory
from services.strategy.runner import StrategyRunner
from shared.messages.control import Gate
from shared.messages.trades import TradeUpdate
from shared.strategy.condition_functions import ExitFunction
from shared.strategy.protocol import Intent, IntentOutcome, Strategy
from shared.strategy.schedule import last_firing, next_firing
from shared.strategy.views import SECOND_NS
from shared.strategy.wording import utc_text

_INTENTS = get_args(Intent)


class Slot:
    """`memory` is durable (folded from rows); everything else is volatile."""

    def __init__(self, loaded: LoadedStrategy, config: StrategyHostConfig, memory: Memory, asking: Asking) -> None:
        self._config = config
        self.loaded = loaded
        self.name = loaded.name
        self.memory = memory
        self._asking = asking
        self.reload_problem = ""
        """Why the file, which has changed, is not used."""

        self._next_exits_ns: int | None = None
        self._earlier_exits: dict[str, Mapping[str, ExitFunction]] = {}
        self.failure: str | None = None
        self.flight: Flight | None = None
        self.gates = GateBook()
        self.refusals = Refusals()
        self.signals_generated = 0
        self.signals_executed = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Signals by kind and code of their outcome."""

        self.refused_until_ns = 0
        self.last_outcome: IntentOutcome | None = None
        self.shown_gates: tuple[Gate, ...] = ()
        self.deadline_ns: int | None = 0
        self._instance: Strategy | None = None

    @property
    def trades_as(self) -> str:
        """The name by which its trades go: its own, or that of hedges."""
        return self.loaded.trades_as or self.loaded.name

    @property
    def alarm(self) -> str:
        """What its strategy wants a person to be told, "" for nothing."""
        return str(getattr(self._instance, "alarm", ""))

    @property
    def looks_by_timer_alone(self) -> bool:
        """Whether its strategy says nothing to news of the market and of orders."""
        return isinstance(self._instance, StrategyRunner)

    def state(self, open_trades: int) -> str:
        """running, paused, stopping, stopped or failed. Gates never change it."""
        if self.failure is not None:
            return "failed"
        if self.memory.told == "pause":
            return "paused"
        if self.memory.told == "stop":
            return "stopping" if open_trades or self.flight is not None else "stopped"
        return "running"

    def exit_functions(self, trade_id: str) -> Mapping[str, ExitFunction]:
        """What answers the conditions of a trade that are plain functions: those that it was opened with."""
        return self._earlier_exits.get(trade_id, self.loaded.exit_functions)

    def exits_wait(self, now_ns: int) -> str | None:
        """Why the exits of its trades are not looked at now; None when they are."""
        schedule, window_ns = self.loaded.exit_schedule, self.loaded.schedule_window_ns
        if schedule is None or last_firing(schedule, now_ns - window_ns, now_ns) is not None:
            return None
        if self._next_exits_ns is None or self._next_exits_ns <= now_ns:
            self._next_exits_ns = next_firing(schedule, now_ns)
        ahead = "never" if self._next_exits_ns is None else f"at {utc_text(self._next_exits_ns)}"
        return f"exits are looked at next {ahead}: {schedule.text}"

    def reload(self, loaded: LoadedStrategy, open_trades: Iterable[str]) -> None:
        """Run this from now on, with a fresh instance; the trades that are open keep their exits."""
        self._earlier_exits = {trade_id: self.exit_functions(trade_id) for trade_id in open_trades}
        self.loaded = loaded
        self._next_exits_ns = None
        self.reload_problem = ""
        self._instance = None
        self.deadline_ns = None if self.failure is not None else 0

    def ask(self, question: Callable[[Strategy], Sequence[Intent]]) -> tuple[Sequence[Intent], str | None]:
        """Put a question to the strategy. The second value says how it failed, if this was the call that failed."""
        if self.failure is not None:
            return (), None
        self._asking.begin(self.name)
        try:
            if self._instance is None:
                self._instance = self.loaded.make(self._config)
            intents, gates = tuple(question(self._instance)), tuple(self._instance.gates())
            _check(intents, _INTENTS, "an intent")
            _check(gates, (Gate,), "a gate")
            deadline_ns = self._instance.next_deadline_ns()
            if not (deadline_ns is None or (isinstance(deadline_ns, int) and not isinstance(deadline_ns, bool))):
                raise TypeError(f"next_deadline_ns() gave {deadline_ns!r}: it must be whole nanoseconds, or None")
            self.shown_gates, self.deadline_ns = gates, deadline_ns
            return intents, None
        except Exception as error:
            return (), self.fail(error)
        finally:
            self._asking.end()

    def tell_outcome(self, outcome: IntentOutcome, now_ns: int) -> str | None:
        """Give a finished intent to the strategy; how the strategy failed on it, if it did."""
        self.last_outcome = outcome
        self.refusals.on_outcome(outcome, now_ns)
        self.outcomes[outcome.kind, outcome.code] += 1
        if outcome.kind == "refused":
            self.refused_until_ns = now_ns + int(self._config.refusal_pause_min_s * SECOND_NS)
        return self._told(outcome, now_ns)

    def tell_orders(self, outcome: IntentOutcome, now_ns: int) -> str | None:
        """Give a refusal of one of its orders to the strategy: it says nothing about opening the next trade."""
        self.outcomes["order", outcome.code] += 1
        return self._told(outcome, now_ns)

    def tell_closed(self, trade: TradeUpdate) -> str | None:
        """Tell it of a trade of its that has ended, where it wants to know; how it failed on it, if it did."""
        closed = self.loaded.on_trade_closed
        if closed is None:
            return None

        def told(_: Strategy) -> Sequence[Intent]:
            closed(trade)
            return ()

        return self.ask(told)[1]

    def _told(self, outcome: IntentOutcome, now_ns: int) -> str | None:
        def told(strategy: Strategy) -> Sequence[Intent]:
            strategy.on_outcome(outcome, now_ns)
            return ()

        return self.ask(told)[1]

    def fail(self, error: Exception) -> str:
        """Stop this strategy, and say at which file and line it failed."""
        self.failure = f"{type(error).__name__}: {error} at {where(error, self.loaded.source)}"
        self._instance = None
        self.deadline_ns = None
        return self.failure

    def revive(self) -> bool:
        """Start a failed strategy anew; False if it had not failed."""
        was_failed, self.failure = self.failure is not None, None
        if was_failed:
            self.deadline_ns = 0
        return was_failed


def _check(given: Iterable[object], kinds: tuple[type, ...], what: str) -> None:
    """What a strategy returns is what the host can work with. Raises TypeError naming what is none."""
    for each in given:
        if not isinstance(each, kinds):
            raise TypeError(f"it returned {str(each)[:100]!r}, which is not {what}")


def where(error: BaseException, source: str) -> str:
    """ "file:line" of an error: its last frame in `source`, else its last frame."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if source and frame.filename == source]
    chosen = (inside or frames)[-1:]
    return f"{chosen[0].filename}:{chosen[0].lineno}" if chosen else source or "unknown place"
