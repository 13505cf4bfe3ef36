"""The catalogue of alerts: every code that a service may raise, with its usual severity and what it means in a line.

`docs/runbook.md` has an entry for each; tests prove that both lists are the same and that no other code is raised.
"""

from __future__ import annotations

import msgspec

from shared.messages.system import Severity


class AlertKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of alert.

    severity: the usual one; who raises it may say otherwise of a single case. title: a few words for a phone's
    screen. meaning: what has happened, in a line. by: the services that raise it. is_notice: it has happened and
    does not end; any other kind is open until it is said to be over.
    """

    code: str
    severity: Severity
    title: str
    meaning: str
    by: tuple[str, ...]
    is_notice: bool = False


def _kind(
    code: str, severity: Severity, by: str, title: str, meaning: str, *, is_notice: bool = False
) -> tuple[str, AlertKind]:
    kind = AlertKind(
        code=code, severity=severity, title=title, meaning=meaning, by=tuple(by.split()), is_notice=is_notice
    )
    return code, kind


ALERT_KINDS: dict[str, AlertKind] = dict(
    (
        # trades
        _kind("trade_opened", "info", "monitor", "Trade opened", "a trade holds its legs", is_notice=True),
        _kind("trade_closed", "info", "monitor", "Trade closed", "a trade holds nothing any more", is_notice=True),
        _kind("trade_failed", "warning", "monitor", "Trade failed", "an opening was given up", is_notice=True),
        _kind(
            "trade_broken", "critical", "execution monitor", "Trade broken", "a trade is not what it was meant to be"
        ),
        _kind(
            "trade_overfilled",
            "critical",
            "execution",
            "Trade too large",
            "an opening was filled beyond its size by an order that had been given up",
        ),
        _kind(
            "surplus_not_reduced",
            "critical",
            "execution",
            "Surplus not reduced",
            "what a trade holds too much cannot be reduced within its bounds",
        ),
        _kind(
            "leverage_mismatch",
            "warning",
            "execution",
            "Leverage not as configured",
            "a contract has another leverage than is configured, and it cannot be changed now",
        ),
        _kind("cash_sold", "info", "execution", "Coins sold", "the cash rule sold coins of spot", is_notice=True),
        _kind(
            "cash_low",
            "warning",
            "execution",
            "USDT below the minimum",
            "the account has fewer USDT than the cash rule keeps, and it sells nothing",
        ),
        _kind("naked_leg", "critical", "monitor", "Naked leg", "a short option of a trade lacks its protection"),
        _kind(
            "position_missing",
            "critical",
            "execution",
            "Position missing",
            "the venue does not show a position that a trade holds, and no execution explains it",
        ),
        _kind(
            "leg_closed_outside",
            "critical",
            "execution",
            "Leg gone from outside",
            "what a trade held was closed, liquidated or exercised by somebody else",
        ),
        _kind(
            "trade_vanished", "critical", "strategy", "Trade vanished", "execution no longer knows of an open trade"
        ),
        _kind("exit_blind", "warning", "strategy", "Exit blind", "an exit cannot be judged for want of data"),
        _kind("hedge_off", "warning", "strategy", "Hedge off", "the delta of a hedged trade is beyond its band"),
        _kind(
            "funding_unexplained",
            "warning",
            "execution",
            "Funding unexplained",
            "trades explain it only in part",
        ),
        _kind("close_unpriced", "critical", "execution", "Close has no price", "a close waits for a price"),
        _kind(
            "close_beyond_bound",
            "warning",
            "execution",
            "Close beyond its bound",
            "the book is further from mark than a close may cross",
        ),
        _kind(
            "settlement_missing",
            "warning",
            "execution",
            "Settlement missing",
            "an expired trade is not in the venue's exercise history",
        ),
        _kind("short_expiring", "warning", "monitor", "Short option expires", "a short option expires within a day"),
        # orders and positions at the venue
        _kind("order_unresolved", "critical", "execution", "Order unknown", "what became of an order is not known"),
        _kind(
            "order_vanished", "critical", "execution", "Order vanished", "an order is in none of the venue's lists"
        ),
        _kind(
            "order_resurrected",
            "critical",
            "execution",
            "Order came back",
            "an order thought never placed is at the venue",
        ),
        _kind(
            "order_mismatch",
            "critical",
            "execution",
            "Order is another",
            "the venue shows an order of ours on another symbol or side",
        ),
        _kind(
            "order_unknown_to_journal",
            "critical",
            "execution",
            "Order not in the journal",
            "an order of ours at the venue is not in the journal",
        ),
        _kind(
            "foreign_position",
            "warning",
            "execution",
            "Foreign position",
            "the account holds what belongs to no trade",
        ),
        _kind(
            "reconciliation_differences",
            "warning",
            "monitor",
            "Venue and journal differ",
            "a comparison with the venue found differences",
        ),
        _kind(
            "rejections_high",
            "warning",
            "monitor",
            "Orders are rejected",
            "the venue refuses more than half of the orders",
        ),
        _kind(
            "countdown_fired", "warning", "execution", "Countdown fired", "the venue's countdown has withdrawn orders"
        ),
        _kind(
            "countdown_not_renewed",
            "warning",
            "execution",
            "Countdown not renewed",
            "the venue's countdown cannot be set",
        ),
        _kind(
            "countdown_refused",
            "warning",
            "execution",
            "No countdown",
            "the venue grants this account no countdown",
        ),
        # requests for quote
        _kind(
            "rfq_no_quotes",
            "warning",
            "execution",
            "No quotes",
            "no maker answered a request for quote",
            is_notice=True,
        ),
        _kind(
            "accept_unresolved",
            "critical",
            "execution",
            "Accept unknown",
            "whether an accepted quote was executed is not known",
        ),
        _kind(
            "block_trade_foreign",
            "critical",
            "execution",
            "Foreign block trade",
            "somebody else accepted a quote on our request",
        ),
        _kind(
            "block_trade_mismatch",
            "critical",
            "execution",
            "Block trade is another",
            "a block trade differs from what was accepted",
        ),
        # the account
        _kind("margin_high", "warning", "monitor", "Margin high", "margin in use is above a configured level"),
        _kind("drawdown_high", "warning", "monitor", "Drawdown", "equity has fallen far from its peak"),
        _kind("drawdown", "critical", "risk", "Drawdown limit", "the limit of the fall from the peak is reached"),
        _kind("daily_loss", "critical", "risk", "Daily loss limit", "the limit of the day's loss is reached"),
        _kind(
            "breaker_open", "critical", "risk", "Breaker open", "what went wrong lately stops new trades for a while"
        ),
        _kind("margin_level", "critical", "risk", "Margin guard", "the margin guard is at another level"),
        _kind(
            "margin_reducing",
            "warning",
            "risk",
            "Closing for margin",
            "the margin guard closes a trade",
            is_notice=True,
        ),
        _kind("margin_guard", "critical", "risk", "Flattened for margin", "the margin guard halts at level flatten"),
        _kind("account_unreachable", "warning", "risk", "Account unreadable", "the account cannot be read"),
        # halts and strategies
        _kind("halted", "critical", "monitor", "Trading halted", "a halt is in force"),
        _kind(
            "trade_without_host",
            "critical",
            "execution",
            "Trade without a host",
            "no strategy host answers for the strategy of an open trade",
        ),
        _kind("risk_silent", "critical", "execution", "Risk silent", "execution does not hear risk: grants are void"),
        _kind(
            "strategy_failed", "critical", "strategy monitor", "Strategy failed", "an error has stopped a strategy"
        ),
        _kind(
            "strategy_load_failed", "critical", "strategy", "Strategy not loaded", "a strategy file cannot be used"
        ),
        _kind(
            "strategy_not_reloaded", "warning", "strategy", "File not reloaded", "a changed strategy file is not used"
        ),
        _kind("strategy_reloaded", "info", "strategy", "File reloaded", "a changed file is used", is_notice=True),
        _kind(
            "schedule_missed",
            "warning",
            "strategy",
            "Schedule missed",
            "an action was due while down",
            is_notice=True,
        ),
        _kind(
            "roll_ended_flat",
            "warning",
            "strategy",
            "Roll ended flat",
            "a trade was closed to be rolled, and nothing was opened in its place",
            is_notice=True,
        ),
        _kind(
            "roll_given_up",
            "warning",
            "strategy",
            "Roll given up",
            "a trade could not be closed to be rolled",
            is_notice=True,
        ),
        _kind("dry_run_signal", "info", "strategy", "Dry run", "a strategy would open a trade now", is_notice=True),
        # services
        _kind("service_down", "critical", "monitor", "Service down", "no heartbeat of a service is heard"),
        _kind("service_not_ready", "warning", "monitor", "Service not ready", "a service cannot do its work"),
        _kind("service_restarted", "info", "monitor", "Service restarted", "a service was started", is_notice=True),
        _kind(
            "core_failed",
            "critical",
            "marketdata risk execution strategy monitor",
            "Input dropped",
            "a service failed on an input and went on without it",
            is_notice=True,
        ),
        _kind(
            "shutdown_incomplete",
            "critical",
            "execution",
            "Stopped unfinished",
            "execution stopped before orders or trades were wound down",
            is_notice=True,
        ),
        # market data and the venue
        _kind(
            "feed_stale",
            "warning",
            "monitor",
            "Feed silent",
            "a topic, or a stream of the venue, is silent for longer than is normal",
        ),
        _kind("market_data_stale", "warning", "marketdata", "Market data stale", "prices of an underlying are old"),
        _kind("market_stream_down", "warning", "marketdata", "Stream down", "a stream of the venue is not connected"),
        _kind("book_frozen", "warning", "marketdata", "Book frozen", "an order book moves by REST and not by stream"),
        _kind(
            "venue_unreadable",
            "critical",
            "execution",
            "Venue unreadable",
            "orders and positions cannot be compared with the venue",
        ),
        _kind(
            "venue_unreachable",
            "critical",
            "monitor",
            "Venue unreachable",
            "several services cannot reach the venue: network, outage or maintenance",
        ),
        _kind(
            "fetches_failing",
            "warning",
            "monitor",
            "Reads fail",
            "a service says again and again that what it reads fails",
        ),
        _kind("venue_auth", "critical", "execution", "Key refused", "the venue refuses the trading key"),
        _kind("clock_off", "critical", "risk", "Clock off", "this host's clock differs from the venue's"),
        # disk and journals
        _kind("disk_full", "critical", "execution risk strategy monitor", "Disk full", "a journal has no space left"),
        _kind(
            "journal_in_memory",
            "critical",
            "execution risk strategy monitor",
            "Journal in memory",
            "a service can write nothing and goes on in memory",
        ),
        _kind(
            "journal_incomplete",
            "critical",
            "execution risk strategy monitor",
            "Journal incomplete",
            "a journal lacks rows that an earlier process could not write",
        ),
        _kind(
            "journal_damaged",
            "critical",
            "execution",
            "Journal damaged",
            "old rows of a journal cannot be read",
            is_notice=True,
        ),
        _kind(
            "snapshot_unusable",
            "warning",
            "execution",
            "Snapshot unusable",
            "a snapshot was set aside and all rows were read",
            is_notice=True,
        ),
        _kind(
            "logs_not_written",
            "warning",
            "exchange marketdata risk execution strategy monitor",
            "Log not written",
            "a service cannot write its log",
            is_notice=True,
        ),
        _kind(
            "history_not_written",
            "warning",
            "monitor",
            "History not written",
            "equity, P&L and Greeks over time cannot be written",
        ),
        _kind(
            "history_damaged",
            "warning",
            "monitor",
            "History damaged",
            "the file of the history was set aside and a new one begun",
            is_notice=True,
        ),
        # the alerts themselves
        _kind("delivery_failed", "critical", "monitor", "Alerts not delivered", "a channel does not take alerts"),
        _kind("telegram_down", "warning", "monitor", "Telegram commands down", "commands by Telegram are not heard"),
        _kind("dashboard_down", "warning", "monitor", "Dashboard not served", "the dashboard cannot be reached"),
        _kind(
            "telegram_refused",
            "warning",
            "monitor",
            "Stranger on Telegram",
            "somebody not on the list wrote to the desk",
            is_notice=True,
        ),
        _kind("daily_summary", "info", "monitor", "Daily summary", "the day in a few lines", is_notice=True),
    )
)
"""By code, in the order in which the runbook has them."""

ENDED_BY_A_PERSON = frozenset(
    {
        "order_vanished",
        "order_resurrected",
        "order_mismatch",
        "order_unknown_to_journal",
        "leg_closed_outside",
        "funding_unexplained",
        "trade_vanished",
        "block_trade_foreign",
        "block_trade_mismatch",
        "strategy_load_failed",
        "strategy_not_reloaded",
        "venue_auth",
    }
)
"""These tell of something of which no service is sure to see the end: they end when somebody acknowledges them.

`venue_auth` ends also with the next order that the venue takes; of requests for quote, and of accepts, which it may
refuse while it takes orders, with the next one of its kind."""

TOLD_AGAIN = frozenset(
    {
        "disk_full",
        "journal_in_memory",
        # marketdata
        "market_stream_down",
        "market_data_stale",
        "book_frozen",
        # risk
        "account_unreachable",
        "clock_off",
        # execution
        "risk_silent",
        "trade_without_host",
        "venue_unreadable",
        "order_unresolved",
        "position_missing",
        "accept_unresolved",
        "close_unpriced",
        "close_beyond_bound",
        "trade_overfilled",
        "surplus_not_reduced",
        "settlement_missing",
        "foreign_position",
        "countdown_fired",
        "countdown_not_renewed",
        "countdown_refused",
        "cash_low",
        "leverage_mismatch",
        # strategy
        "exit_blind",
        "hedge_off",
        "strategy_load_failed",
        "strategy_not_reloaded",
    }
)
"""A service raises these anew soon after a restart when they still hold, and does not know of those it raised before.

Any other kind that lasts is ended by a person, or by who remembers it beyond a restart."""


def severity_of(code: str) -> Severity:
    """The usual severity of a code; an unknown code is a warning."""
    kind = ALERT_KINDS.get(code)
    return "warning" if kind is None else kind.severity


def title_of(code: str) -> str:
    """The title of a code; the code itself, spelled as words, where the catalogue lacks it."""
    kind = ALERT_KINDS.get(code)
    return code.replace("_", " ").capitalize() if kind is None else kind.title
