"""The settings of execution: the section [execution] of voldesk.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from services.execution.cash_config import CashConfig
from shared.leverage import LeverageTable
from shared.messages.control import OnShutdown
from shared.messages.trades import IfBroken
from shared.strategy.profiles import ExecutionProfile

Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Seconds = Annotated[int, Meta(ge=0, le=864_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Percent = Annotated[float, Meta(gt=0, le=10_000)]
_COUNTDOWN_MIN_S = 15
ProfileName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]


class ExecutionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How execution works orders, looks for evidence and reconciles.

    order_validity_ms: how long the venue may still act on a signed request.
    evidence_margin_ms: what is added to it before absence at the venue counts as "never placed".
    place_deadline_ms: after this the shell gives up on a placement call, whose outcome is then unknown.
    sending_guard_ms: an order without any outcome for this long is unknown; above place_deadline_ms.
    query_retry_first_ms, query_retry_max_ms: the pause between queries of one order doubles between these.
    query_alert_after_ms: an order unresolved for this long is alarmed.
    cancel_confirm_ms: an acknowledged cancel must be seen in the order's state within this, else it is queried.
    vanished_after_ms: an order once seen must be absent from all lists for this long to count as gone.
    assume_fill_after_ms: a fill that the venue shows on the order but never in its fills is assumed after this.
    reconcile_interval_ms: the regular comparison with the venue.
    reconcile_retry_first_ms, reconcile_retry_max_ms: the pause after a failed one doubles between these.
    snapshot_pause_ms: the shortest time between two comparisons, for the venue's rate limits.
    snapshot_timeout_ms: a comparison that was asked for and not answered in this time is asked for again.
    confirm_ms: how long after a difference of positions the second look is taken.
    settled_view_ms: fills younger than this at a snapshot may be missing in its positions.
    stream_down_poll_ms: the interval of comparisons while the private stream is down and orders are live.
    fee_poll_ms: how long after a fill without a fee the fee is looked for, and again while it is not told.
    market_tolerance_ms: prices older than this decide nothing.
    risk_silence_max_ms: a risk service silent for longer voids open grants.
    tradable_margin_s: a trade is opened only in instruments that trade for at least this much longer.
    wide_spread_pct: a book wider than this, in per cent of mid, is priced from mark.
    attempt_interval_ms: the shortest time between two orders of one leg.
    leg_refusals_max: this many refusals in a row end the opening of a leg.
    refusal_pause_max_ms: the pause after refusals doubles from attempt_interval_ms up to this.
    close_step_ms: how long a closing order rests on one step of the staircase mark, mid, cross.
    urgent_step_ms: the same for unwinding and flattening.
    cross_buffer_pct: how far past the other side of the book a crossing close is priced, as the book may have moved.
    close_attempts_max, close_window_ms: a leg that needs more orders than this in the window is broken.
    close_patience_ms: a close that takes longer is broken.
    broken_retry_first_ms, broken_retry_max_ms: the pause between orders of a broken trade doubles between these.
    unpriced_alert_ms: a leg that cannot be closed for want of a price is alarmed after this.
    if_broken: what is done with what is left of a structure that lost a leg from outside, where its strategy does not
    say: it is closed, or held until a person, an exit or its deadline closes it.
    rfq_poll_ms: how often the quotes on a request are read, beside what is pushed.
    rfq_creates_max: how many requests for quote one opening or close makes at most, where the venue does not
    answer, or has too many.
    rfq_quote_margin_ms: a quote that is valid for less is not taken.
    rfq_evidence_after_expiry_ms: an accept without an outcome counts as never executed no earlier than this after
    the quote's expiry, unless the venue shows before that quote or request are gone and block trades can be read.
    fee_rate, block_fee_rate, fee_cap_fraction: expected trading fee = min(rate × index, cap × price) × quantity; the
    block rate for requests for quote. futures_fee_rate, spot_fee_rate: those of a future and of spot, fractions of
    price × quantity.
    expected_quote_fill_share: the share of an order's quantity that is expected to trade where it is first quoted.
    expected_rfq_improvement_pct: how much better than the order book a quote is expected to be, in per cent of its
    prices, though not better than its middle.
    expiry_policy, expiry_close_margin_s: "close" closes a trade this long before its last trading instant;
    "hold" lets it settle.
    post_only_retries: how often a labelled post-only order of a quoting trade that would have crossed is tried again.
    quoting_host_silence_ms: orders of a quoting trade are withdrawn when no strategy host is heard for this long.
    quoting_countdown_s: while a strategy quotes in an underlying, the venue is to cancel all orders there, whatever
    they are for, when it has not heard of execution for this long: a right that most accounts lack. 0: never;
    else at least 15, as one renewal may be lost.
    settlement_poll_ms, settlement_alert_ms: how often a missing settlement is looked for, and when it is alarmed.
    unfilled_orders_kept_s: how long an order of a quoting trade that ended unfilled stays in memory; no shorter than
    close_window_ms.
    retention_days: how long final trades with orders and fills stay in memory (the journal keeps all).
    quality_days: how long how well they were executed is remembered, for `voldesk tca`.
    republish_days: how far back final trades are published again at a start.
    answers_kept: answers remembered for repeated request ids.
    story_lines_max: lines of the story of one trade kept in memory.
    on_shutdown: what a stop of execution does first: leave orders and trades as they are, but withdraw the orders of
    strategies that quote, as nobody moves them; leave_all leaves these too, and disarms the venue's countdown;
    cancel what rests, and send nothing more;
    flatten closes every trade. In LIVE flatten is done only when `voldesk down` asked for it, a bare
    signal cancels. shutdown_timeout_s: after so long the process ends all the same, and the next one goes on.
    profiles: parameters of the limit plan by name; a strategy host resolves them when it loads a strategy.
    leverage: of perpetuals and dated futures, by symbol: set at the venue at a start, and whenever it is another one
    and the account has neither position nor orders there.
    cash: the rule that keeps a minimum of USDT by selling a coin of spot.
    rate_budget_share: share of those rate limits of the venue that services share (account, positions, market data);
    limits that execution alone uses (orders, their queries and history) are its own, whole.
    orders_per_s: calls per second of each kind: placements with amendments, cancels, batches. The venue's table says
    15, the pages of its calls say 60; one too many is refused, and a cancel was seen to stay refused for minutes.
    """

    order_validity_ms: Milliseconds = 5_000
    evidence_margin_ms: Milliseconds = 2_000
    place_deadline_ms: Milliseconds = 5_000
    sending_guard_ms: Milliseconds = 8_000
    query_retry_first_ms: Milliseconds = 500
    query_retry_max_ms: Milliseconds = 30_000
    query_alert_after_ms: Milliseconds = 30_000
    cancel_confirm_ms: Milliseconds = 1_500
    vanished_after_ms: Milliseconds = 30_000
    assume_fill_after_ms: Milliseconds = 60_000
    reconcile_interval_ms: Milliseconds = 60_000
    reconcile_retry_first_ms: Milliseconds = 1_000
    reconcile_retry_max_ms: Milliseconds = 30_000
    snapshot_pause_ms: Milliseconds = 1_000
    snapshot_timeout_ms: Milliseconds = 30_000
    confirm_ms: Milliseconds = 2_000
    settled_view_ms: Milliseconds = 3_000
    stream_down_poll_ms: Milliseconds = 5_000
    fee_poll_ms: Milliseconds = 2_000
    market_tolerance_ms: Milliseconds = 5_000
    risk_silence_max_ms: Milliseconds = 3_000
    tradable_margin_s: Seconds = 300
    wide_spread_pct: Percent = 50.0
    attempt_interval_ms: Milliseconds = 1_000
    leg_refusals_max: Count = 3
    refusal_pause_max_ms: Milliseconds = 30_000
    close_step_ms: Milliseconds = 5_000
    urgent_step_ms: Milliseconds = 2_000
    cross_buffer_pct: Percent = 1.0
    close_attempts_max: Count = 12
    close_window_ms: Milliseconds = 120_000
    close_patience_ms: Milliseconds = 180_000
    broken_retry_first_ms: Milliseconds = 30_000
    broken_retry_max_ms: Milliseconds = 900_000
    unpriced_alert_ms: Milliseconds = 15_000
    if_broken: IfBroken = "close"
    rfq_poll_ms: Milliseconds = 1_000
    rfq_creates_max: Count = 2
    rfq_quote_margin_ms: Milliseconds = 3_000
    rfq_evidence_after_expiry_ms: Milliseconds = 30_000
    fee_rate: Annotated[float, Meta(ge=0, le=0.01)] = 0.0004
    block_fee_rate: Annotated[float, Meta(ge=0, le=0.01)] = 0.0003
    fee_cap_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.125
    futures_fee_rate: Annotated[float, Meta(ge=0, le=0.01)] = 0.0006
    spot_fee_rate: Annotated[float, Meta(ge=0, le=0.01)] = 0.001
    expected_quote_fill_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    expected_rfq_improvement_pct: Annotated[float, Meta(ge=0, le=100)] = 3.0
    expiry_policy: Literal["hold", "close"] = "hold"
    expiry_close_margin_s: Seconds = 900
    post_only_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    quoting_host_silence_ms: Milliseconds = 5_000
    quoting_countdown_s: Annotated[int, Meta(ge=0, le=3_600)] = 0
    settlement_poll_ms: Milliseconds = 60_000
    settlement_alert_ms: Milliseconds = 3_600_000
    unfilled_orders_kept_s: Annotated[int, Meta(ge=10, le=864_000)] = 600
    retention_days: Count = 3
    quality_days: Count = 90
    republish_days: Count = 2
    answers_kept: Count = 4_096
    story_lines_max: Count = 400
    on_shutdown: OnShutdown = "leave"
    shutdown_timeout_s: Annotated[int, Meta(ge=1, le=60)] = 20
    profiles: dict[ProfileName, ExecutionProfile] = {}
    cash: CashConfig = CashConfig()
    leverage: LeverageTable = {}
    rate_budget_share: Annotated[float, Meta(gt=0, le=1)] = 0.25
    orders_per_s: Annotated[int, Meta(ge=1, le=60)] = 15

    def __post_init__(self) -> None:
        if 0 < self.quoting_countdown_s < _COUNTDOWN_MIN_S:
            raise ValueError(
                f"quoting_countdown_s {self.quoting_countdown_s} must be 0 or at least {_COUNTDOWN_MIN_S}: it is "
                "renewed three times in that, and one lost answer must not withdraw every order of the underlying"
            )
        if self.unfilled_orders_kept_s * 1_000 < self.close_window_ms:
            raise ValueError(
                f"unfilled_orders_kept_s {self.unfilled_orders_kept_s} must cover close_window_ms "
                f"{self.close_window_ms}: the orders of a close are counted in that window, so raise it to at least "
                f"{-(-self.close_window_ms // 1_000)}, or lower close_window_ms"
            )
        if self.sending_guard_ms <= self.place_deadline_ms:
            raise ValueError(
                f"sending_guard_ms {self.sending_guard_ms} must be above place_deadline_ms {self.place_deadline_ms}: "
                "an order is unknown only after the call that sends it has ended"
            )
