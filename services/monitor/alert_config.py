"""How alerts are judged and where they go: the sub-sections of `[monitor]` in voldesk.toml."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.messages.alert_kinds import ALERT_KINDS
from shared.messages.system import Severity

FigureName = Literal[
    "equity_usd",
    "available_margin_usd",
    "initial_margin_pct",
    "maintenance_margin_pct",
    "drawdown_pct",
    "unrealized_pnl_usd",
    "delta",
    "vega_usd",
    "theta_usd",
    "rejection_rate",
    "open_trades",
]
FIGURE_KINDS: dict[str, str] = {
    "drawdown_pct": "drawdown_high",
    "rejection_rate": "rejections_high",
}
"""The kind of alert that a figure past its threshold is, where it is not `MARGIN_KIND`."""

MARGIN_KIND = "margin_high"

_TOLD_EACH_TIME = frozenset({"naked_leg", "position_missing", "trade_broken", "trade_overfilled"})
"""Each beginning may cost money, and is another one to see to."""

DEFAULT_ROUTE = "default"
_PLACES: Mapping[str, str | float] = dict.fromkeys(("text", "subject", "service", "code", "title"), "words")
_FIGURE_PLACES: Mapping[str, str | float] = {"figure": "words", "value": 1.5, "limit": 1.5, "rule": "words"}
"""What a text may name, each with a value of its type."""

_CANNOT_FORMAT = (ValueError, LookupError, TypeError, AttributeError)
_LOOPBACK = ("http://127.0.0.1", "http://localhost", "http://[::1]")


def _check_text(text: str, places: Mapping[str, str | float]) -> None:
    """See that a text can be filled in. Raises ValueError that says what of it cannot."""
    try:
        parts = [(name, spec) for _, name, spec, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"text cannot be read: {error}; a brace is written twice") from None
    for name, spec in parts:
        if name not in places:
            allowed = ", ".join(f"{{{each}}}" for each in sorted(places))
            raise ValueError(f"text has {{{name}}}; it may have {allowed}")
        if spec and "{" in spec:
            raise ValueError(f"text has {{{name}:{spec}}}; a format has no braces of its own")
    try:
        text.format(**places)
    except _CANNOT_FORMAT as error:
        numbers = ", ".join(f"{{{each}:.1f}}" for each, value in places.items() if isinstance(value, float))
        remedy = f"numbers are written like {numbers}" if numbers else "a place is written like {text}"
        raise ValueError(f"text cannot be filled in: {error}; {remedy}") from None


def filled(template: str, plain: str, **values: str | float) -> str:
    """`template` filled in; `plain` where there is none, or one that cannot be filled in: an alert is told anyway."""
    if not template:
        return plain
    try:
        return template.format(**values)
    except _CANNOT_FORMAT:
        return plain


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class KindRule(_Section, frozen=True, kw_only=True):
    """[monitor.kinds.CODE]: what is done with one kind of alert, other than usual. The kinds: docs/runbook.md.

    severity: instead of the one it is raised with. after_s: told once it has lasted so long, not at all when it is
    over before. route: where it goes. text: instead of its own, with {text}, {subject}, {service}, {code} and {title}
    filled in. mute: shown on the page and in the log only. hold_flapping: false tells each beginning and end of it,
    however often; by default false for naked_leg, position_missing, trade_broken and trade_overfilled, else true.
    """

    severity: Severity | None = None
    after_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    route: str = DEFAULT_ROUTE
    text: str = ""
    mute: bool = False
    hold_flapping: bool | None = None

    def __post_init__(self) -> None:
        _check_text(self.text, _PLACES)

    def holds(self, code: str) -> bool:
        """Whether an alert of this code is held back while it flaps."""
        return code not in _TOLD_EACH_TIME if self.hold_flapping is None else self.hold_flapping


class FlappingSection(_Section, frozen=True, kw_only=True):
    """[monitor.flapping]: an alert that begins and ends again and again is told of once, and then held back.

    begins, window_s: it flaps with so many beginnings within so long; 0 begins tell each one. open_s: one that flaps
    and has been open for so long is told again as open. over_s: one that flaps and has been over for so long is told
    to be over. longest_critical_s: one that is critical, flaps on and that nobody has acknowledged is told again each
    time so long has passed, with how often it began and the share of the time that it was open. longest_s: the same
    of one that is not critical.
    """

    begins: Annotated[int, Meta(ge=0, le=100)] = 4
    window_s: Annotated[float, Meta(ge=1, le=86_400)] = 900.0
    open_s: Annotated[float, Meta(ge=1, le=86_400)] = 120.0
    over_s: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    longest_critical_s: Annotated[float, Meta(ge=1, le=86_400)] = 900.0
    longest_s: Annotated[float, Meta(ge=1, le=86_400)] = 3_600.0

    def __post_init__(self) -> None:
        if self.begins == 1:
            raise ValueError("begins is 0, which holds nothing back, or at least 2: once is not again")


class FigureRule(_Section, frozen=True, kw_only=True):
    """[monitor.rules.NAME]: an alert while a figure of the account is past a threshold.

    figure: what is measured; percentages are of equity, drawdown_pct of the peak; delta is the largest of any
    underlying in coins, whatever its sign, vega_usd and theta_usd are sums of all; rejection_rate is the share of the
    orders of the last 15 minutes that the venue refused, 0 to 1, judged from five orders on. above, below: the
    threshold, one of both. over_s: past it for so long. severity, route and text: as for a kind; text with {figure},
    {value}, {limit} and {rule}. kind: the alert's code; by default margin_high, drawdown_high or rejections_high, as
    the figure is. enabled: false takes a rule of the defaults out.

    Rules that are there without any section: drawdown_warning (20 %), drawdown_critical (25 %), margin_warning and
    margin_critical (maintenance margin, 60 and 80 %), and rejections (0.5).
    """

    figure: FigureName
    above: float | None = None
    below: float | None = None
    over_s: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    severity: Severity = "warning"
    route: str = ""
    text: str = ""
    kind: str = ""
    enabled: bool = True

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError("a rule has one threshold: either above or below")
        if self.kind and self.kind not in ALERT_KINDS:
            raise ValueError(f"kind {self.kind} is no alert of docs/runbook.md")
        _check_text(self.text, _FIGURE_PLACES)

    @property
    def code(self) -> str:
        return self.kind or FIGURE_KINDS.get(self.figure, MARGIN_KIND)

    @property
    def limit(self) -> float:
        return self.above if self.above is not None else self.below or 0.0


DEFAULT_RULES: Mapping[str, FigureRule] = {
    "drawdown_warning": FigureRule(figure="drawdown_pct", above=20.0),
    "drawdown_critical": FigureRule(figure="drawdown_pct", above=25.0, severity="critical"),
    "margin_warning": FigureRule(figure="maintenance_margin_pct", above=60.0),
    "margin_critical": FigureRule(figure="maintenance_margin_pct", above=80.0, severity="critical"),
    "rejections": FigureRule(figure="rejection_rate", above=0.5, over_s=0.0),
}


class Route(_Section, frozen=True, kw_only=True):
    """[monitor.routes.NAME]: which channels hear of an alert. Alerts go to "default" unless a kind says otherwise.

    channels: those that are told. fallback: those that are told as well while one of them fails. escalate_to: those
    that hear of a critical alert that nobody has acknowledged. remind_after_s: it is told again after so long, then
    after twice as long and so on up to four hours; 0 never.
    """

    channels: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    escalate_to: tuple[str, ...] = ()
    remind_after_s: Annotated[float, Meta(ge=0, le=86_400)] = 900.0


class Channel(_Section, frozen=True, kw_only=True):
    """[monitor.channels.NAME]: one place where messages go.

    via: telegram sends as the bot of [monitor.telegram]; notify sends to the address in the secret
    VOLDESK_NOTIFY_URL_NAME, Slack, Discord, e-mail, webhooks and others in the form of the library apprise. chat_id:
    the number of the Telegram chat, negative for a group.
    min_severity: less is not sent. group_s: after a message the next one waits so long for more alerts to go with it;
    critical ones do not wait. per_minute: messages at most; what is more goes together in the next.
    """

    via: Literal["telegram", "notify"]
    chat_id: int | None = None
    min_severity: Severity = "info"
    group_s: Annotated[float, Meta(ge=0, le=3_600)] = 5.0
    per_minute: Annotated[int, Meta(ge=1, le=60)] = 12

    def __post_init__(self) -> None:
        if self.via == "telegram" and self.chat_id is None:
            raise ValueError("a telegram channel has a chat_id: the number of the chat, negative for a group")


class TelegramUser(_Section, frozen=True, kw_only=True):
    """[[monitor.telegram.users]]: who may ask the desk. In a group both the group and who writes must be listed, and
    the lesser of their roles counts.

    id: of the person or group, as the bot's answer to nobody known is logged. name: who it is, for the audit. role:
    view may look; operate may also pause, resume, close, halt and flatten.
    """

    id: int
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,32}$")]
    role: Literal["view", "operate"] = "view"


class TelegramSection(_Section, frozen=True, kw_only=True):
    """[monitor.telegram]: the bot. Its token is the secret VOLDESK_TELEGRAM_TOKEN, never in this file.

    users: who is answered, each as [[monitor.telegram.users]]; nobody without. base_url: of the Bot API; plain http
    only on the loopback address. code_s: a confirmation code holds so long. command_age_s: what was written longer
    ago is not done any more, since the world has moved on; /halt, /pause and /ack are done for an hour.
    """

    users: tuple[TelegramUser, ...] = ()
    base_url: str = "https://api.telegram.org/bot"
    code_s: Annotated[float, Meta(ge=10, le=600)] = 60.0
    command_age_s: Annotated[float, Meta(ge=5, le=3_600)] = 60.0

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("https://", *_LOOPBACK)):
            raise ValueError("base_url must begin with https://, or with http:// on the loopback address")
        if len({user.id for user in self.users}) < len(self.users):
            raise ValueError("two users have the same id")


def check_alerting(
    kinds: Mapping[str, KindRule],
    rules: Mapping[str, FigureRule],
    routes: Mapping[str, Route],
    channels: Mapping[str, Channel],
) -> None:
    """See that every name that one section gives of another is there. Raises ValueError for the first that is not."""
    for code, kind in kinds.items():
        if code not in ALERT_KINDS:
            raise ValueError(f"kinds.{code} is no alert: docs/runbook.md lists them")
        if kind.route != DEFAULT_ROUTE and kind.route not in routes:
            raise ValueError(
                f"kinds.{code} has the route {kind.route}, which no [monitor.routes.{kind.route}] defines"
            )
    for name, rule in rules.items():
        if rule.route and rule.route != DEFAULT_ROUTE and rule.route not in routes:
            raise ValueError(
                f"rules.{name} has the route {rule.route}, which no [monitor.routes.{rule.route}] defines"
            )
    for name, route in routes.items():
        for channel in (*route.channels, *route.fallback, *route.escalate_to):
            if channel not in channels:
                raise ValueError(
                    f"routes.{name} names the channel {channel}, which no [monitor.channels.{channel}] defines"
                )
