"""What the dashboards show."""

from __future__ import annotations

from typing import Any

from deploy.grafana.panels import bars, dashboard, figure, heat, lines, quantiles, timeline

_UP = {"0": ("down", "red"), "1": ("up", "green")}
_OPEN = {"0": ("closed", "orange"), "1": ("open", "green")}
_USE = ((0.75, "orange"), (0.9, "red"))
_ANY = ((1.0, "red"),)


def _rate(by: str, metric: str, selector: str = "") -> str:
    """Per second, summed over all other labels."""
    return f"sum by ({by}) (rate({metric}{{$where{', ' + selector if selector else ''}}}[$__rate_interval]))"


def overview() -> dict[str, Any]:
    return dashboard(
        "overview",
        "voldesk · Overview",
        (
            figure("Equity", "currencyUSD", ("voldesk_equity_usd{$where}", "{{account}}")),
            figure(
                "P&L after fees and funding",
                "currencyUSD",
                ("account:voldesk_net_pnl_usd:sum{$where}", "{{account}}"),
            ),
            figure(
                "Drawdown",
                "percentunit",
                ("voldesk_drawdown_ratio{$where}", "{{account}}"),
                (0.2, "orange"),
                (0.25, "red"),
            ),
            figure(
                "Maintenance margin / equity",
                "percentunit",
                ("account:voldesk_maintenance_margin:ratio{$where}", "{{account}}"),
                (0.5, "orange"),
                (0.8, "red"),
            ),
            figure("Open trades", "none", ("sum by (account) (voldesk_trades{$where})", "{{account}}")),
            figure("Halts in force", "none", ("sum by (account) (voldesk_halts{$where})", "{{account}}"), *_ANY),
            lines(
                "Equity and its peak",
                "currencyUSD",
                ("voldesk_equity_usd{$where}", "equity {{account}}"),
                ("voldesk_peak_equity_usd{$where}", "peak {{account}}"),
            ),
            timeline("Services", ('up{job="voldesk", $where}', "{{service}}"), _UP),
            lines("Alerts open", "none", ("sum by (severity) (voldesk_alerts_open{$where})", "{{severity}}")),
            lines("Trades by state", "none", ("sum by (state) (voldesk_trades{$where})", "{{state}}"), stacked=True),
        ),
    )


def trading() -> dict[str, Any]:
    return dashboard(
        "trading",
        "voldesk · Trading & P&L",
        (
            figure(
                "P&L after fees and funding",
                "currencyUSD",
                ("account:voldesk_net_pnl_usd:sum{$where}", "{{account}}"),
                width=6,
            ),
            figure(
                "Fees paid",
                "currencyUSD",
                ("sum by (account) (voldesk_paid_fees_usd{$where})", "{{account}}"),
                width=6,
            ),
            figure("Unrealised P&L", "currencyUSD", ("voldesk_unrealized_pnl_usd{$where}", "{{account}}"), width=6),
            figure(
                "Daily loss",
                "percentunit",
                ("voldesk_daily_loss_ratio{$where}", "{{account}}"),
                (0.1, "orange"),
                (0.15, "red"),
                width=6,
            ),
            lines(
                "P&L after fees and funding, by strategy",
                "currencyUSD",
                ("strategy:voldesk_net_pnl_usd:sum{$where}", "{{strategy}}"),
            ),
            lines(
                "Fees by strategy",
                "currencyUSD",
                ("sum by (strategy) (voldesk_paid_fees_usd{$where})", "{{strategy}}"),
            ),
            lines(
                "Trades begun in an hour",
                "none",
                ("sum by (strategy) (increase(voldesk_trades_requested_total{$where}[1h]))", "{{strategy}}"),
            ),
            lines(
                "Trades ended in an hour",
                "none",
                (
                    "sum by (strategy, state) (increase(voldesk_trades_ended_total{$where}[1h]))",
                    "{{strategy}} {{state}}",
                ),
            ),
            lines("Trades by state", "none", ("sum by (state) (voldesk_trades{$where})", "{{state}}"), stacked=True),
            lines("Orders at work by state", "none", ("sum by (state) (voldesk_orders{$where})", "{{state}}")),
        ),
    )


def risk() -> dict[str, Any]:
    return dashboard(
        "risk",
        "voldesk · Risk & Margin",
        (
            bars(
                "Use of each limit",
                "percentunit",
                (
                    "max by (limit, scope, subject) (voldesk_limit_use_ratio{$where})",
                    "{{limit}} {{scope}} {{subject}}",
                ),
                *_USE,
                about="What nears 100 % refuses the next trade.",
                width=24,
            ),
            lines(
                "Margin",
                "currencyUSD",
                ("voldesk_initial_margin_usd{$where}", "initial {{account}}"),
                ("voldesk_maintenance_margin_usd{$where}", "maintenance {{account}}"),
                ("voldesk_available_margin_usd{$where}", "available {{account}}"),
                ("voldesk_grants_outstanding_margin_usd{$where}", "reserved by grants {{account}}"),
            ),
            lines(
                "Margin / equity",
                "percentunit",
                ("account:voldesk_maintenance_margin:ratio{$where}", "maintenance {{account}}"),
                ("voldesk_margin_utilisation_ratio{$where}", "initial {{account}}"),
            ),
            lines(
                "Drawdown and daily loss",
                "percentunit",
                ("voldesk_drawdown_ratio{$where}", "drawdown {{account}}"),
                ("voldesk_daily_loss_ratio{$where}", "since 00:00 UTC {{account}}"),
            ),
            lines(
                "Stressed loss",
                "currencyUSD",
                ("voldesk_stressed_loss_usd{$where}", "{{account}}"),
                about="Of the positions in the worst scenarios, summed over underlyings.",
            ),
            lines(
                "Margin models against the venue",
                "percentunit",
                ("voldesk_margin_model_error_ratio{$where}", "{{model}} {{figure}}"),
                about="(Model − venue) / venue. Empty while the venue asks for no margin.",
            ),
            lines(
                "Grants by answer",
                "ops",
                (
                    _rate("answer, reason", "voldesk_requests_answered_total", 'request="request_grant"'),
                    "{{answer}} {{reason}}",
                ),
            ),
            timeline(
                "Circuit breakers",
                ("voldesk_breaker_state{$where}", "{{breaker}} {{subject}}"),
                {"0": ("closed", "green"), "1": ("half open", "orange"), "2": ("open", "red")},
            ),
            timeline(
                "Margin guard",
                ("voldesk_margin_guard_level{$where}", "{{account}}"),
                {
                    "0": ("normal", "green"),
                    "1": ("warn", "orange"),
                    "2": ("no new trades", "orange"),
                    "3": ("reduce", "red"),
                    "4": ("flatten", "red"),
                },
            ),
            lines("Halts in force by level", "none", ("sum by (level) (voldesk_halts{$where})", "{{level}}")),
            lines("Age of the account", "s", ("time() - voldesk_account_timestamp_seconds{$where}", "{{account}}")),
        ),
    )


def greeks() -> dict[str, Any]:
    by = "{{underlying}} {{source}}"
    return dashboard(
        "greeks",
        "voldesk · Greeks",
        (
            lines("Delta", "none", ("voldesk_delta_coins{$where}", by), about="Coins of the underlying."),
            lines(
                "Gamma",
                "none",
                ("voldesk_gamma_coins_per_usd{$where}", by),
                about="Change of delta in coins when the underlying moves 1 USD.",
            ),
            lines("Vega", "currencyUSD", ("voldesk_vega_usd{$where}", by), about="USD per volatility point."),
            lines("Theta", "currencyUSD", ("voldesk_theta_usd_per_day{$where}", by), about="USD per day."),
            timeline(
                "Greeks of all positions known",
                ("voldesk_greeks_complete{$where}", "{{account}}"),
                {"0": ("some are not", "orange"), "1": ("all", "green")},
            ),
            lines("Options held", "none", ("voldesk_positions{$where}", "{{account}}")),
        ),
    )


def execution() -> dict[str, Any]:
    slippage = _rate("le, strategy, phase", "voldesk_slippage_bp_bucket")
    return dashboard(
        "execution",
        "voldesk · Execution quality",
        (
            lines(
                "Slippage at the median",
                "none",
                (f"histogram_quantile(0.5, {slippage})", "{{strategy}} {{phase}}"),
                about="Basis points of premium against the mid at arrival; a cost is above 0.",
            ),
            quantiles("Time to fill", "voldesk_time_to_fill_seconds", "", "phase"),
            quantiles("Order to acknowledgement", "voldesk_order_to_ack_seconds", "", "call"),
            quantiles("Intent to first order", "voldesk_intent_to_order_seconds", ""),
            lines(
                "Orders ended",
                "ops",
                (_rate("outcome", "voldesk_orders_ended_total"), "{{outcome}}"),
            ),
            lines(
                "Orders refused / requested",
                "percentunit",
                ("account:voldesk_orders_refused:ratio_increase10m{$where}", "{{account}}"),
                about="Of ten minutes.",
            ),
            lines(
                "Orders of unknown outcome",
                "none",
                ('sum by (account) (voldesk_orders{$where, state="UNKNOWN"})', "now {{account}}"),
                ("sum by (account) (increase(voldesk_orders_unknown_total{$where}[1h]))", "in an hour {{account}}"),
            ),
            lines(
                "Fills",
                "ops",
                (_rate("purpose", "voldesk_fills_total"), "{{purpose}}"),
            ),
            lines("Requests for quote", "none", ("sum by (state) (voldesk_rfqs{$where})", "{{state}}")),
            lines(
                "Not the desk's at the venue",
                "none",
                ("sum by (kind) (voldesk_reconciliation_differences{$where})", "{{kind}}"),
            ),
        ),
    )


def market() -> dict[str, Any]:
    return dashboard(
        "market",
        "voldesk · Market data",
        (
            lines(
                "Age of the oldest stream",
                "s",
                ("max by (underlying, stream) (voldesk_stream_age_seconds{$where})", "{{underlying}} {{stream}}"),
            ),
            timeline("Streams of the venue", ("voldesk_venue_stream_up{$where}", "{{service}} {{stream}}"), _UP),
            lines("Streams not received", "none", ("voldesk_stale_streams{$where}", "{{underlying}}")),
            lines(
                "Order books",
                "none",
                ("voldesk_books{$where}", "leased {{underlying}}"),
                ("voldesk_frozen_books{$where}", "frozen {{underlying}}"),
            ),
            lines(
                "Our volatilities against the venue's",
                "percentunit",
                ('voldesk_venue_difference{$where, figure=~".*_iv"}', "{{underlying}} {{figure}}"),
                about="Largest difference over the options of an underlying.",
            ),
            lines(
                "Our delta against the venue's",
                "none",
                ('voldesk_venue_difference{$where, figure="delta"}', "{{underlying}}"),
            ),
            lines(
                "Rows and frames that could not be used",
                "ops",
                (_rate("service", "voldesk_venue_skipped_total"), "{{service}}"),
            ),
            lines(
                "Clock: the venue's minus ours", "s", ("voldesk_venue_clock_offset_seconds{$where}", "{{service}}")
            ),
        ),
    )


def bus() -> dict[str, Any]:
    return dashboard(
        "bus",
        "voldesk · Bus & latency",
        (
            quantiles("Publish to receive", "voldesk_bus_delay_seconds", "", "service"),
            quantiles("Tick to intent", "voldesk_tick_to_intent_seconds", ', stage="intent_sent"'),
            quantiles("Grant", "voldesk_request_seconds", ', request="request_grant"'),
            quantiles("Calls to the venue", "voldesk_venue_call_seconds", "", "service"),
            heat(
                "Publish to receive, all services",
                _rate("le", "voldesk_bus_delay_seconds_bucket"),
            ),
            lines(
                "Frames",
                "ops",
                (_rate("service, kind", "voldesk_bus_messages_total"), "{{service}} {{kind}}"),
            ),
            lines(
                "Requests that were not answered at once",
                "ops",
                (
                    _rate("service, kind", "voldesk_bus_requests_total", 'kind=~"repeated|timed_out"'),
                    "{{service}} {{kind}}",
                ),
            ),
            lines(
                "Gaps, replays",
                "none",
                ("sum by (service) (increase(voldesk_bus_replays_total{$where}[1h]))", "replays {{service}}"),
                ("sum by (service) (increase(voldesk_bus_gaps_total{$where}[1h]))", "gaps {{service}}"),
            ),
            lines(
                "Oldest input that waits for a core",
                "s",
                ("max by (service) (voldesk_queue_oldest_age_seconds{$where})", "{{service}}"),
            ),
            quantiles("Commit of a journal", "voldesk_commit_seconds", "", "service"),
        ),
    )


def services() -> dict[str, Any]:
    return dashboard(
        "services",
        "voldesk · Services",
        (
            timeline("Answers a scrape", ('up{job="voldesk", $where}', "{{service}}"), _UP),
            timeline(
                "Ready", ("voldesk_ready{$where}", "{{service}}"), {"0": ("waits", "orange"), "1": ("ready", "green")}
            ),
            lines("Memory", "bytes", ("voldesk_process_resident_memory_bytes{$where}", "{{service}}")),
            lines("CPU", "percentunit", (_rate("service", "voldesk_process_cpu_seconds_total"), "{{service}}")),
            lines(
                "Since the last heartbeat",
                "s",
                ("time() - voldesk_heartbeat_timestamp_seconds{$where}", "{{service}}"),
            ),
            quantiles("Lateness of the event loop", "voldesk_loop_lag_seconds", "", "service"),
            lines("Uptime", "s", ("time() - voldesk_process_start_time_seconds{$where}", "{{service}}")),
            lines(
                "Calls that failed at the venue",
                "percentunit",
                ("service:voldesk_venue_calls_failed:ratio_rate5m{$where}", "{{service}}"),
            ),
            lines(
                "Calls to the venue by outcome",
                "ops",
                (
                    _rate("service, outcome", "voldesk_venue_calls_total"),
                    "{{service}} {{outcome}}",
                ),
            ),
            lines("Open files", "none", ("voldesk_process_open_fds{$where}", "{{service}}")),
            lines(
                "Journal's place",
                "none",
                ("voldesk_journal_space{$where}", "{{service}}"),
                about="0 on the disk, 1 the disk is nearly full, 2 in memory only.",
            ),
            lines("Rows a restart would replay", "none", ("voldesk_journal_replay_rows{$where}", "{{service}}")),
        ),
    )


def strategy() -> dict[str, Any]:
    return dashboard(
        "strategy",
        "voldesk · Strategy",
        (
            timeline(
                "Running",
                ('voldesk_strategy_state{$where, state="running"}', "{{strategy}}"),
                {"0": ("not", "orange"), "1": ("running", "green")},
            ),
            lines("Open trades", "none", ("voldesk_strategy_open_trades{$where}", "{{strategy}}")),
            timeline(
                "Gates",
                ("voldesk_strategy_gate_open{$where}", "{{strategy}} {{gate}}"),
                _OPEN,
                about="Every condition for opening; the reason of a closed one: `voldesk why STRATEGY`.",
                width=24,
            ),
            lines(
                "Signals in an hour",
                "none",
                ("sum by (strategy) (increase(voldesk_signals_generated_total{$where}[1h]))", "wished {{strategy}}"),
                ("sum by (strategy) (increase(voldesk_signals_executed_total{$where}[1h]))", "opened {{strategy}}"),
            ),
            lines(
                "Intents by answer of execution",
                "ops",
                (
                    _rate("answer, reason", "voldesk_requests_answered_total", 'request="open_trade"'),
                    "{{answer}} {{reason}}",
                ),
            ),
            lines(
                "P&L after fees and funding",
                "currencyUSD",
                ("strategy:voldesk_net_pnl_usd:sum{$where}", "{{strategy}}"),
            ),
            quantiles("Tick to grant asked", "voldesk_tick_to_intent_seconds", ', stage="grant_asked"'),
        ),
    )


BOARDS = (overview, trading, risk, greeks, execution, market, bus, services, strategy)
