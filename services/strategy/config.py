"""The settings of a strategy host: the section [strategy] of voldesk.toml."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Seconds = Annotated[float, Meta(ge=0, le=864_000)]
Minute = Annotated[int, Meta(ge=0, le=1_439)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class StrategyInstance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strategy file with parameters of its own, run under this name when `enabled` has it.

    file: the strategy file, without ".py"; "" for the one of the same name. parameters: what its function is called
    with, by name. group: strategies of one group run in a host process of their own, "" in the default host.
    """

    file: Annotated[str, Meta(pattern=r"^([A-Za-z][A-Za-z0-9_]*)?$")] = ""
    parameters: dict[str, Any] = {}
    group: str = ""


class StrategyHostConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which strategies a host runs, and how long it waits for whom.

    enabled: the names of the strategy files, without ".py", and of the instances to run.
    folders: where they are looked for, after the desk's own strategies/; relative to the configuration file.
    market_tolerance_ms, account_tolerance_ms: data older than this, from receipt, decides nothing.
    market_read_interval_s: candles and funding rates that a condition needs are read this often.
    market_read_tolerance_s: those older than this, from receipt, decide nothing.
    service_silence_max_ms: nothing is opened when execution or risk was not heard for this long.
    no_trade_margin_s: an option that stops trading sooner than this is not selected.
    intent_valid_ms: an intent may be accepted for this long after it was made.
    grant_deadline_ms, open_deadline_ms, close_deadline_ms: how long one request waits for its answer.
    repeat_max_ms: the pause between repeats of an unanswered intent doubles up to this.
    accepted_wait_ms: how long after an acceptance the trade's first event may take before execution is asked for it.
    close_repeat_ms: a close that was answered is asked for again after this if the trade is still open.
    refusal_pause_min_s, refusal_pause_max_s: the pause after refusals doubles from the check interval, at least
    the first, up to the second.
    exit_blind_alert_s: a trade whose exits cannot be judged for this long is alarmed.
    exit_interval_min_ms, exit_interval_ms: exits are looked at on new data, but not more often than the first, and
    at least as often as the second.
    status_interval_ms: how often a status is published when nothing changes.
    deadline_grace_s: how long after an exit by the clock was due execution closes the trade itself.
    day_boundary_minute: the trading day begins at this minute of the UTC day.
    block_max_s: a strategy whose code runs for so long without returning ends the host, which starts without it.
    dry_run_fee_rate, dry_run_fee_cap_fraction: the fee of a dry run's fill = min(rate × index, cap × price) ×
    quantity; a sale and a purchase alike. dry_run_futures_fee_rate, dry_run_spot_fee_rate: those of a future and of
    spot, of price × quantity.
    """

    enabled: tuple[Name, ...] = ()
    folders: tuple[str, ...] = ()
    market_tolerance_ms: Milliseconds = 10_000
    account_tolerance_ms: Milliseconds = 30_000
    market_read_interval_s: Annotated[float, Meta(ge=1, le=600)] = 15.0
    market_read_tolerance_s: Annotated[float, Meta(ge=5, le=3_600)] = 180.0
    service_silence_max_ms: Milliseconds = 5_000
    no_trade_margin_s: Seconds = 3_600.0
    intent_valid_ms: Milliseconds = 15_000
    grant_deadline_ms: Milliseconds = 3_000
    open_deadline_ms: Milliseconds = 3_000
    close_deadline_ms: Milliseconds = 3_000
    repeat_max_ms: Milliseconds = 10_000
    accepted_wait_ms: Milliseconds = 5_000
    close_repeat_ms: Milliseconds = 5_000
    refusal_pause_min_s: Seconds = 1.0
    refusal_pause_max_s: Seconds = 60.0
    exit_blind_alert_s: Seconds = 60.0
    exit_interval_min_ms: Milliseconds = 250
    exit_interval_ms: Milliseconds = 1_000
    status_interval_ms: Milliseconds = 1_000
    deadline_grace_s: Seconds = 30.0
    day_boundary_minute: Minute = 0
    block_max_s: Annotated[float, Meta(ge=1, le=3_600)] = 10.0
    dry_run_fee_rate: Annotated[float, Meta(ge=0, le=0.01)] = 0.0004
    dry_run_fee_cap_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.125
    dry_run_futures_fee_rate: Annotated[float, Meta(ge=0, le=0.01)] = 0.0006
    dry_run_spot_fee_rate: Annotated[float, Meta(ge=0, le=0.01)] = 0.001
    instances: dict[str, StrategyInstance] = {}
