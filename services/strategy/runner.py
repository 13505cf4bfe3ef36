"""`StrategyConfig` as a `Strategy`: looks at the entry every check interval and says what to open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from services.strategy.config import StrategyHostConfig
from services.strategy.flight import ORDINAL_KNOWN
from services.strategy.gates import GateBook, names_of
from shared.messages.account import AccountSnapshot
from shared.messages.conditions import CreditMultiple, MaxLoss, UtcDatetimeExit, alternatives
from shared.messages.control import Gate
from shared.messages.trades import ExecutionParams, LegOrder, OrderUpdate, TradeUpdate
from shared.options.chain import ChainView
from shared.options.instruments import instrument_kind
from shared.strategy.config import StrategyConfig
from shared.strategy.evaluate import evaluate_entry
from shared.strategy.hedge import hedge_range
from shared.strategy.legs import AnyLeg
from shared.strategy.pnl import premium_at_mark
from shared.strategy.protocol import Intent, IntentOutcome, OpenStructure
from shared.strategy.schedule import last_firing, next_firing
from shared.strategy.selection import SelectionFailed, perpetual_of, resolve_legs
from shared.strategy.views import SECOND_NS, DeskView, EntryView
from shared.strategy.wording import utc_text

_WAITING_INTERVAL_NS = SECOND_NS
_COINS_ARE_NOT_ROLLED = "a trade with coins of spot is not rolled: it would sell them and buy them again"


class StrategyRunner:
    """Volatile: all that must survive (pauses, trades, ordinals) is the host's or execution's."""

    def __init__(self, config: StrategyConfig, host: StrategyHostConfig, params: ExecutionParams) -> None:
        self._config = config
        self._params = params
        self._host = host
        self._underlyings = config.underlyings
        self._entries = tuple(zip(names_of(config.entries), config.entries, strict=True))
        self._exits = config.exits
        self._gates = GateBook()
        self._interval_ns = int(config.check_interval_seconds * SECOND_NS)
        self._next_check_ns = 0
        self._waiting = False
        self._refusals = 0
        self._next_firing_ns: int | None = None

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def config(self) -> StrategyConfig:
        return self._config

    def on_market(self, underlying: str, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return ()

    def on_order(self, order: OrderUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return ()

    def on_trade(self, trade: TradeUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        if self._gates.gates:
            self._show(self._counted(desk, now_ns), now_ns)
        return ()

    def on_timer(self, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        """Look at every gate, so that all of them can be shown; open only when all are open.

        While something is missing or stale, or the host lets nothing be opened, the next look comes sooner than the
        check interval.
        """
        if now_ns < self._next_check_ns:
            return ()
        self._waiting = desk.entry_closed is not None
        gates = self._look(desk, now_ns)
        legs = self._resolve(desk, now_ns)
        interval_ns = min(self._interval_ns, _WAITING_INTERVAL_NS) if self._waiting else self._interval_ns
        self._next_check_ns = now_ns + interval_ns
        if self._next_firing_ns is not None and self._next_firing_ns > now_ns:
            self._next_check_ns = min(self._next_check_ns, self._next_firing_ns)
        if desk.entry_closed is not None or not gates or legs is None:
            return ()
        return (self._intent(legs, desk.chains),)

    def on_outcome(self, outcome: IntentOutcome, now_ns: int) -> None:
        """Wait: the check interval, after refusals doubled for each further one, within the host's bounds."""
        if outcome.kind == "refused":
            least_s = max(self._config.check_interval_seconds, self._host.refusal_pause_min_s)
            most_s = max(least_s, self._host.refusal_pause_max_s)
            pause_s = min(most_s, least_s * 2 ** min(self._refusals, 16))
            if outcome.code != ORDINAL_KNOWN:
                self._refusals += 1
            self._next_check_ns = now_ns + int(pause_s * SECOND_NS)
            return
        self._refusals = 0
        self._next_check_ns = now_ns + self._interval_ns

    def gates(self) -> Sequence[Gate]:
        return self._gates.gates

    def next_deadline_ns(self) -> int | None:
        return self._next_check_ns

    def _look(self, desk: DeskView, now_ns: int) -> bool:
        answers = [
            self._market_data(desk, now_ns),
            self._account(desk, now_ns),
            *self._scheduled(desk, now_ns),
            *self._conditions(desk, now_ns),
            *self._counted(desk, now_ns),
            *self._exit_ahead(now_ns),
        ]
        self._show(answers, now_ns)
        return all(is_open for _, is_open, _ in answers)

    def _show(self, answers: Sequence[tuple[str, bool, str]], now_ns: int) -> None:
        for name, is_open, reason in answers:
            self._gates.set(name, is_open=is_open, reason=reason, now_ns=now_ns)

    def _counted(self, desk: DeskView, now_ns: int) -> list[tuple[str, bool, str]]:
        """The gates that depend on the strategy's own trades."""
        return [self._concurrent(desk), self._per_day(desk), self._cooldown(desk, now_ns)]

    def _scheduled(self, desk: DeskView, now_ns: int) -> list[tuple[str, bool, str]]:
        """Open from each firing of its schedule on for a while, until a trade is made: seen by execution's events, so
        that a restart neither loses a firing nor repeats it."""
        schedule = self._config.entry_schedule
        if schedule is None:
            return []
        window_ns = int(self._config.schedule_window_seconds * SECOND_NS)
        fired_ns = last_firing(schedule, now_ns - window_ns, now_ns)
        made_ns = desk.history.last_created_ns
        if fired_ns is not None and (made_ns is None or made_ns < fired_ns):
            return [("schedule", True, f"due since {utc_text(fired_ns)}, until {utc_text(fired_ns + window_ns)}")]
        if self._next_firing_ns is None or self._next_firing_ns <= now_ns:
            self._next_firing_ns = next_firing(schedule, now_ns)
        ahead = "never" if self._next_firing_ns is None else f"at {utc_text(self._next_firing_ns)}"
        done = "" if fired_ns is None else f"the trade of {utc_text(fired_ns)} was made; "
        return [("schedule", False, f"{done}next {ahead}: {schedule.text}")]

    def _market_data(self, desk: DeskView, now_ns: int) -> tuple[str, bool, str]:
        """Every chain that legs are selected from is young enough to decide."""
        ages = []
        for underlying in self._underlyings:
            chain = desk.entry_view.fresh_chain(underlying, now_ns)
            if isinstance(chain, str):
                self._waiting = True
                return "market_data", False, f"waiting: {chain}"
            ages.append(f"{underlying} {(now_ns - chain.snapshot.received_ns) / SECOND_NS:.1f} s old")
        return "market_data", True, f"{', '.join(ages)}, at most {desk.tolerances.market_ns / SECOND_NS:g} s"

    def _account(self, desk: DeskView, now_ns: int) -> tuple[str, bool, str]:
        """Risk grants nothing on an account that it has not read lately."""
        account = desk.entry_view.fresh_account(now_ns)
        if isinstance(account, str):
            self._waiting = True
            return "account", False, f"waiting: {account}"
        age_s = (now_ns - account.received_ns) / SECOND_NS
        return "account", True, f"{age_s:.1f} s old, at most {desk.tolerances.account_ns / SECOND_NS:g} s"

    def _conditions(self, desk: DeskView, now_ns: int) -> list[tuple[str, bool, str]]:
        answers = []
        for name, condition in self._entries:
            verdict = evaluate_entry(condition, desk.entry_view, now_ns, self._config.entry_functions)
            answers.append((name, verdict.open, verdict.reason))
            self._waiting = self._waiting or verdict.waiting
        return answers

    def _concurrent(self, desk: DeskView) -> tuple[str, bool, str]:
        count, most = desk.history.open_trades, self._config.max_concurrent_trades
        return "concurrent_trades", count < most, f"{count} of {most} trades open"

    def _per_day(self, desk: DeskView) -> tuple[str, bool, str]:
        count, most = desk.history.trades_today, self._config.max_trades_per_day
        of = "no limit" if most == 0 else f"of {most}"
        return "trades_per_day", most == 0 or count < most, f"{count} trades today, {of}"

    def _cooldown(self, desk: DeskView, now_ns: int) -> tuple[str, bool, str]:
        ended_ns = desk.history.last_closed_ns
        if ended_ns is None or self._config.cooldown_seconds == 0:
            return "cooldown", True, "none to wait for"
        left_s = self._config.cooldown_seconds - (now_ns - ended_ns) / SECOND_NS
        return "cooldown", left_s <= 0, f"{left_s:.0f} s left" if left_s > 0 else "over"

    def _exit_ahead(self, now_ns: int) -> list[tuple[str, bool, str]]:
        """A fixed exit time that has passed: what would be opened would be closed at once."""
        times = [item.at_ns for item in alternatives(self._exits) if isinstance(item, UtcDatetimeExit)]
        if not times:
            return []
        passed = min(times) <= now_ns
        return [("exit_ahead", not passed, "the fixed exit time has passed" if passed else "the exit time is ahead")]

    def _resolve(self, desk: DeskView, now_ns: int) -> tuple[LegOrder, ...] | None:
        for underlying in self._underlyings:
            chain = desk.entry_view.fresh_chain(underlying, now_ns)
            if isinstance(chain, str):
                self._waiting = True
                self._gates.set("legs", is_open=False, reason=f"waiting: {chain}", now_ns=now_ns)
                return None
        found = self._legs(desk.entry_view, now_ns)
        if isinstance(found, SelectionFailed):
            self._gates.set("legs", is_open=False, reason=found.text, now_ns=now_ns)
            return None
        shown = ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in found)
        self._gates.set("legs", is_open=True, reason=shown, now_ns=now_ns)
        return found

    @property
    def underlyings(self) -> tuple[str, ...]:
        """The index names whose chains `structure` needs."""
        return self._underlyings

    def structure(
        self, chains: Mapping[str, ChainView], now_ns: int, account: AccountSnapshot | None = None
    ) -> OpenStructure | SelectionFailed:
        """What would be opened on these chains now, whatever the gates say."""
        legs = self._legs(EntryView(account=account, chains=chains), now_ns)
        return legs if isinstance(legs, SelectionFailed) else self._intent(legs, chains)

    def successor(self, view: EntryView, now_ns: int) -> OpenStructure | SelectionFailed:
        """What would take the place of a trade that is rolled now, whatever the gates say: whole or not at all, as a
        part of it would not pay for the close as the whole does."""
        ahead = next((reason for _, is_open, reason in self._exit_ahead(now_ns) if not is_open), None)
        if ahead is not None:
            return SelectionFailed(reason=ahead)
        roll = self._config.roll
        legs = self._legs(view, now_ns, () if roll is None else roll.legs)
        if isinstance(legs, SelectionFailed):
            return legs
        if any(instrument_kind(leg.symbol) == "spot" for leg in legs):
            return SelectionFailed(reason=_COINS_ARE_NOT_ROLLED)
        intent = self._intent(legs, view.chains)
        params = msgspec.structs.replace(intent.execution_params, scale_to_filled=False)
        return msgspec.structs.replace(intent, policy="atomic", execution_params=params)

    def _legs(
        self, view: EntryView, now_ns: int, given: Sequence[AnyLeg] = ()
    ) -> tuple[LegOrder, ...] | SelectionFailed:
        specs = given or self._config.specs(view, now_ns)
        if isinstance(specs, str):
            return SelectionFailed(reason=specs)
        if self._config.delta_hedge is not None:
            for underlying in self._underlyings:
                hedges = perpetual_of(view.chains[underlying])
                if isinstance(hedges, SelectionFailed):
                    return SelectionFailed(reason=f"its delta could not be hedged: {hedges.reason}")
        margin_ns = int(self._host.no_trade_margin_s * SECOND_NS)
        # an account that is too old sizes nothing: its equity is not known
        account = view.fresh_account(now_ns)
        equity_usd = None if isinstance(account, str) else float(account.equity_usd)
        legs = resolve_legs(specs, view.chains, now_ns, margin_ns, equity_usd)
        return legs if isinstance(legs, SelectionFailed) else tuple(legs)

    def _intent(self, legs: tuple[LegOrder, ...], chains: Mapping[str, ChainView]) -> OpenStructure:
        config = self._config
        return OpenStructure(
            legs=legs,
            execution_mode=config.execution_mode,
            execution_params=self._params,
            smart=config.smart_params,
            rfq=config.rfq_params,
            policy=config.policy,
            exit_conditions=config.exits,
            max_loss_usd=self._max_loss_usd(legs, chains),
            if_host_silent=config.if_host_silent,
            host_silent_after_s=config.host_silent_after_seconds,
            if_broken=config.if_broken,
            dry_run=config.dry_run,
            hedge_range=(0.0, 0.0) if config.delta_hedge is None else hedge_range(legs, config.delta_hedge),
        )

    def _max_loss_usd(self, legs: tuple[LegOrder, ...], chains: Mapping[str, ChainView]) -> float | None:
        """The least bound of loss among the exits, a percentage taken of the structure's absolute premium at mark."""
        premium = premium_at_mark(legs, chains.get)
        losses = []
        for condition in alternatives(self._exits):
            match condition:
                case MaxLoss(usd=usd) if usd is not None:
                    losses.append(usd)
                case MaxLoss(pct=pct) if pct is not None and premium:
                    losses.append(pct / 100 * abs(premium))
                case CreditMultiple(multiple=multiple) if premium is not None and premium < 0:
                    losses.append(multiple * -premium)
                case _:
                    pass
        return min(losses, default=None)
