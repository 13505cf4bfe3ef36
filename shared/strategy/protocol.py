"""What a host knows of a strategy, and what a strategy asks of its host."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from shared.messages.conditions import ExitCondition
from shared.messages.control import Gate
from shared.messages.quoting import OrderToAmend, OrderToPlace
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.trades import (
    ExecutionMode,
    ExecutionParams,
    IfBroken,
    LegOrder,
    OrderUpdate,
    Policy,
    TradeUpdate,
)
from shared.strategy.opening_time import kind_of, longest_opening_s
from shared.strategy.views import DeskView


class OpenStructure(msgspec.Struct, frozen=True, kw_only=True):
    """Open these legs as one trade. The host gets the grant, sends the intent and reports the outcome.

    hard_deadline_ns, max_loss_usd and those exit_conditions that go by the clock are enforced by execution itself,
    whatever becomes of the host; hard_deadline_ns is an absolute time, opened or not.
    quoting_s: with execution_mode "quoting", for how long the strategy wants to work its orders (`WorkOrders`); risk
    may grant less. The policy must be "best_effort".
    if_broken: what becomes of the rest when a leg is lost from outside; None as the desk's setting says.
    hedge_of: the trade that it hedges: execution closes it when that one has ended. hedge_range: the
    least and the most of the perpetual that its own delta hedge may come to hold, coins, short < 0: it is opened only
    if there is room for that too, and nothing that it would net against.
    dry_run: send nothing; the host keeps the trade as if it had been opened at the touch.
    """

    legs: tuple[LegOrder, ...]
    execution_mode: ExecutionMode = "auto"
    execution_params: ExecutionParams = ExecutionParams()
    smart: SmartParams = SmartParams()
    rfq: RfqParams = RfqParams()
    policy: Policy = "atomic"
    exit_conditions: tuple[ExitCondition, ...] = ()
    hard_deadline_ns: int | None = None
    max_loss_usd: float | None = None
    if_host_silent: Literal["hold", "close"] = "hold"
    host_silent_after_s: float = 60.0
    if_broken: IfBroken | None = None
    quoting_s: float = 0.0
    dry_run: bool = False
    hedge_of: str = ""
    hedge_range: tuple[float, float] = (0.0, 0.0)

    @property
    def hedge_coins(self) -> float:
        """The most of the perpetual, either way, that its own delta hedge may come to hold."""
        return max(map(abs, self.hedge_range))

    @property
    def opening_s(self) -> float:
        """How long the opening may take, from when execution has it."""
        if self.execution_mode == "quoting":
            return self.quoting_s
        legs = [(leg.side, kind_of(leg)) for leg in self.legs]
        return longest_opening_s(self.execution_mode, legs, self.execution_params, self.smart, self.rfq)


class CloseStructure(msgspec.Struct, frozen=True, kw_only=True):
    """Close what the trade holds. Repeated by the host until the trade leaves OPEN."""

    trade_id: str
    reason: str


class ReduceStructure(msgspec.Struct, frozen=True, kw_only=True):
    """Close what a trade of one leg holds beyond `keep` (> 0, in coins, in lots); the rest stays open."""

    trade_id: str
    keep: Decimal
    reason: str


class WorkOrders(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel, amend and place orders of a trade that was opened with execution_mode "quoting".

    Each is judged by itself; what is refused comes back as an `IntentOutcome` with its code and the trade, everything
    else by `on_order`, where `OrderUpdate.label` says which order it is.

    cancel_all: every order of the trade; cancel_symbols: every order of it on these. However many they are, and those
    too that are on their way to the venue: they are cancelled once they have arrived. Quoting goes on, and what is
    placed by the same intent stays. keeps_stops: not stop orders that reduce, which protect what is held.
    """

    trade_id: str
    place: tuple[OrderToPlace, ...] = ()
    amend: tuple[OrderToAmend, ...] = ()
    cancel: tuple[int, ...] = ()
    cancel_all: bool = False
    cancel_symbols: tuple[str, ...] = ()
    keeps_stops: bool = False


Intent = OpenStructure | CloseStructure | ReduceStructure | WorkOrders


class IntentOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an `OpenStructure`: opened as `trade_id`, refused with `code` and `reason`, or reported: a trade
    `trade_id` of a dry run. Or of a part of `WorkOrders` that was refused: that alone has `trade_id` beside
    "refused".

    refused_by: risk or execution, "" when the host itself refused or nothing was refused.
    """

    kind: Literal["opened", "refused", "reported"]
    code: str
    reason: str
    trade_id: str | None = None
    refused_by: Literal["", "risk", "execution"] = ""


class Strategy(Protocol):
    """Pure: decides on what it is shown, and returns intents. It is asked again; it never waits.

    The host calls `on_market` for each new chain and each new index price, `on_timer` when `next_deadline_ns` has
    come, the others for what concerns this strategy. At most one `OpenStructure` is in flight; while
    `DeskView.entry_closed` is set another one is refused.
    """

    @property
    def name(self) -> str: ...

    def on_market(self, underlying: str, desk: DeskView, now_ns: int) -> Sequence[Intent]: ...

    def on_order(self, order: OrderUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]: ...

    def on_trade(self, trade: TradeUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]: ...

    def on_timer(self, desk: DeskView, now_ns: int) -> Sequence[Intent]: ...

    def on_outcome(self, outcome: IntentOutcome, now_ns: int) -> None: ...

    def gates(self) -> Sequence[Gate]:
        """Every condition for opening, with its last answer."""
        ...

    def next_deadline_ns(self) -> int | None: ...
