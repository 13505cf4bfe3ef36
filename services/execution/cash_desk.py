"""Carries out the cash rule: reads, sells once, follows each sale to its end, and says why it acts or does not."""

from __future__ import annotations

from decimal import Decimal
from itertools import takewhile

from msgspec.structs import replace

from services.execution.cash_effects import CashRead, CashReadFailed, ReadCash, SellSpot
from services.execution.cash_rows import CashSaleRequested
from services.execution.cash_rule import CashSeen, Sell, Wait, decide, free_of
from services.execution.cash_sales import ANSWER_NS, SaleFollower
from services.execution.cash_strays import StrayWatch
from services.execution.comparisons import ComparisonSchedule
from services.execution.halted import halt_text
from services.execution.records import ZERO
from services.execution.winding_down import WindingDown
from services.execution.workspace import MS, SECOND, Workspace, earliest
from shared.ids import OrderKey, client_order_id, next_trade_number
from shared.messages.cash import CashCode, CashStatus
from shared.messages.contracts import ContractOrder
from shared.views import clock_text

_READ_AGE_MAX_NS = 10 * SECOND
_CONFIRM_NS = SECOND
_READS_BELOW = 2
"""Reads in a row that must agree before anything is sold, against one wrong figure."""
_BLIND_NS = 60 * SECOND
_PAUSE_MAX_NS = 3_600 * SECOND
_TOLD_SALES = 50
_PASSING: frozenset[CashCode] = frozenset({"off", "enough", "selling", "interval", "confirming", "not_compared"})
"""Reasons that end by themselves: nobody needs to be told."""


class CashDesk:
    """At most one sale is sent at a time. A sale is journalled before it is sent, and is sent once. Nothing more is
    sold before it has ended and the account has been read after that.
    """

    def __init__(self, work: Workspace, schedule: ComparisonSchedule, winding_down: WindingDown) -> None:
        self._work = work
        self._config = work.config.cash
        self._schedule = schedule
        self.sales = SaleFollower(work, winding_down)
        self.strays = StrayWatch(work)
        self._seen: CashSeen | None = None
        self._read_ns = 0
        self._asked_ns: int | None = None
        self._next_ns = 0
        self._below = 0
        self._endings = 0
        self._trusted_ns = 0
        self._blind_ns = 0
        self._blind_why = ""

    def begin(self) -> None:
        """After the fold."""
        self.sales.begin()
        self.strays.begin()
        self.distrust()

    def distrust(self) -> None:
        """Time has passed that nobody saw: read anew, and what was sent before may still arrive."""
        self._below = 0
        self._asked_ns = None
        self._next_ns = self._trusted_ns = self._work.now_ns
        self.sales.distrust()

    def knows(self, number: int) -> bool:
        """Whether an order is a sale of the cash rule."""
        return number in self._work.book.cash.sales

    def status(self) -> CashStatus:
        """For a person: what it would do now, and why it does or does not act."""
        work, config, seen = self._work, self._config, self._seen
        decision = self._decide()
        sells = isinstance(decision, Sell)
        sales = list(work.book.cash.sales.values())[-_TOLD_SALES:]
        return CashStatus(
            account_id=work.account_id,
            mode=config.mode,
            asset=config.asset,
            symbol=config.symbol,
            minimum_usdt=config.minimum_usdt,
            target_usdt=config.target,
            keep=config.keep,
            cap_usd=config.cap_usd,
            used_usd=self._used_usd(),
            usdt=None if seen is None else seen.usdt,
            held=None if seen is None else seen.asset.cash,
            free=None if seen is None else free_of(config, seen),
            read_ns=self._read_ns,
            code="would_sell" if isinstance(decision, Sell) else decision.code,
            detail=decision.detail,
            quantity=decision.quantity if sells and isinstance(decision, Sell) else ZERO,
            price=decision.price if sells and isinstance(decision, Sell) else ZERO,
            sales=tuple(sale.told() for sale in reversed(sales)),
        )

    def look(self) -> int | None:
        """Ask for what is due; returns when to look again."""
        return earliest(self.sales.look(), self.strays.look(), self._check(), self._tell_blind())

    def _check(self) -> int | None:
        work, config = self._work, self._config
        if self.sales.endings != self._endings:
            # what the last sale brought is to be seen before anything else is decided
            self._endings, self._next_ns, self._below = self.sales.endings, work.now_ns, 0
        if config.mode == "off" or work.is_winding_down:
            return None
        if self._asked_ns is not None:
            if work.now_ns < self._asked_ns + ANSWER_NS:
                return self._asked_ns + ANSWER_NS
            self._cannot_read("no answer came back")
        if work.now_ns < self._next_ns:
            return self._next_ns
        self._asked_ns, self._next_ns = work.now_ns, work.now_ns + config.check_s * SECOND
        work.send(ReadCash(asset=config.asset, symbol=config.symbol, below_usdt=config.minimum_usdt))
        return work.now_ns + ANSWER_NS

    def read(self, read: CashRead | CashReadFailed) -> None:
        """Decide on what was read."""
        work, config = self._work, self._config
        self._asked_ns = None
        if isinstance(read, CashReadFailed):
            self._cannot_read(read.reason)
            return
        if work.now_ns - read.asked_ns > _READ_AGE_MAX_NS or read.asked_ns < self._trusted_ns:
            self._cannot_read(f"the answer came {(work.now_ns - read.asked_ns) // SECOND} s after it was asked for")
            self._next_ns = work.now_ns
            return
        self._blind_ns, self._blind_why = 0, ""
        work.resolve("cash_low", "account", "the account can be read again")
        self.strays.saw(read.open_sales)
        doubted = self._doubts(read)
        self._seen, self._read_ns = replace(read.seen, traded=self._traded()), read.asked_ns
        settled_ns = self._settled_ns()
        counts = not work.book.cash.live and self.strays.is_clear and not doubted and read.asked_ns > settled_ns
        self._below = self._below + 1 if counts and read.seen.usdt < config.minimum_usdt else 0
        decision = self._decide()
        if isinstance(decision, Wait) and decision.code == "confirming":
            self._next_ns = min(self._next_ns, max(work.now_ns + _CONFIRM_NS, settled_ns + MS))
        self._tell(decision)
        if isinstance(decision, Sell) and config.mode == "on":
            self._sell(decision)

    def _traded(self) -> Decimal:
        """Coins of the asset that trades hold or are buying."""
        legs = (leg for trade in self._work.book.active_trades() for leg in trade.legs)
        ours = (leg for leg in legs if leg.symbol == self._config.symbol)
        return sum((leg.held_quantity + leg.opening_quantity for leg in ours), ZERO)

    def _cannot_read(self, why: str) -> None:
        self._below, self._asked_ns = 0, None
        self._blind_ns, self._blind_why = self._blind_ns or self._work.now_ns, why

    def _blind_text(self) -> str:
        return f"the account cannot be read since {clock_text(self._blind_ns)} UTC: {self._blind_why}"

    def _tell_blind(self) -> int | None:
        """An alert while nobody knows how many USDT there are."""
        work, told_ns = self._work, self._blind_ns + _BLIND_NS
        if not self._blind_ns or self._config.mode == "off":
            return None
        if work.now_ns < told_ns:
            return told_ns
        work.alert("cash_low", "warning", "account", f"the cash rule is blind, {self._blind_text()}")
        return None

    def _settled_ns(self) -> int:
        """From then on a reading shows what the last sale did, and what trades did in the pair: one from before it
        shows coins that are sold by now, and are no trade's any more."""
        traded_ns = self._work.last_traded_ns.get(self._config.symbol, 0)
        shown_ns = max(self._ended_ns(), traded_ns) + self._work.config.settled_view_ms * MS
        return max(shown_ns, self.strays.settled_ns)

    def _ended_ns(self) -> int:
        """When the newest end of a sale became known, 0 without any."""
        return max((sale.updated_ns for sale in self._work.book.cash.sales.values()), default=0)

    def _doubts(self, read: CashRead) -> bool:
        """Whether the venue shows an order as open of which the journal says that it is over: it is looked for."""
        book, settled_view_ns = self._work.book.cash, self._work.config.settled_view_ms * MS
        found = False
        for number in {order.client_order_id for order in read.open_sales if order.client_order_id is not None}:
            sale = book.sales.get(number)
            if sale is not None and sale.is_final and read.asked_ns > sale.updated_ns + settled_view_ns:
                self.sales.doubt(number)
                found = True
        return found

    def _decide(self) -> Sell | Wait:
        """What follows from the newest reading and all else that is known."""
        work, config, seen = self._work, self._config, self._seen
        if config.mode == "off":
            return Wait("off", "[execution.cash] mode is off")
        if self._blind_ns:
            return Wait("not_read", self._blind_text())
        if seen is None:
            return Wait("not_read", "the account has not been read yet")
        if work.now_ns - self._read_ns > config.check_s * SECOND + ANSWER_NS:
            return Wait("not_read", f"the account was read {(work.now_ns - self._read_ns) // SECOND} s ago")
        if seen.usdt >= config.minimum_usdt:
            return decide(config, seen, ZERO)
        return self._held_back() or decide(config, seen, self._used_usd())

    def _used_usd(self) -> Decimal:
        """What counts against the cap, by the journal and by what it does not have."""
        return self._work.book.cash.used_usd(self._work.now_ns) + self.strays.used_usd(self._work.now_ns)

    def _held_back(self) -> Wait | None:
        """Why nothing is sold now, whatever account and market say."""
        work, book = self._work, self._work.book
        if book.cash.live:
            return Wait("selling", self.sales.text())
        if not self.strays.is_clear:
            return Wait("not_compared", self.strays.text)
        if book.halts:
            return Wait("halted", halt_text(book.halts[-1]))
        if work.is_winding_down:
            return Wait("stopping", "execution stops")
        if work.space.level != "disk":
            return Wait("disk_full", f"the journal cannot be written: {work.space.reason}")
        if not self._schedule.synced:
            return Wait("not_compared", "orders and positions have not been compared with the venue yet")
        if self.sales.key_refused:
            return Wait("refused", f"the venue refuses the key, until a restart: {self.sales.key_refused}")
        refusals = self._refusals()
        left_ns = self._ended_ns() + self._pause_ns(refusals) - work.now_ns
        if book.cash.sales and left_ns > 0:
            after = f", after {refusals} refusals" if refusals > 1 else ""
            return Wait("interval", f"the next sale is allowed in {-(-left_ns // SECOND)} s{after}")
        if self._below < _READS_BELOW:
            return Wait("confirming", "the account is read once more before anything is sold")
        return None

    def _refusals(self) -> int:
        """How many of the newest sales the venue refused, one after the other."""
        newest_first = reversed(self._work.book.cash.sales.values())
        return sum(1 for _ in takewhile(lambda sale: sale.state == "REFUSED", newest_first))

    def _pause_ns(self, refusals: int) -> int:
        interval_ns = self._config.interval_s * SECOND
        return max(interval_ns, min(_PAUSE_MAX_NS, interval_ns << min(max(refusals - 1, 0), 20)))

    def _tell(self, decision: Sell | Wait) -> None:
        """An alert while USDT are short and nothing that is under way ends it."""
        work, config = self._work, self._config
        if isinstance(decision, Wait) and decision.code == "enough":
            work.resolve("cash_low", config.asset, f"USDT are above the minimum again: {decision.detail}")
        elif isinstance(decision, Sell) and config.mode == "dry_run":
            work.alert("cash_low", "warning", config.asset, f"dry run: would sell, {decision.detail}")
        elif isinstance(decision, Wait) and self._seen is not None and not self._passes(decision):
            work.alert(
                "cash_low",
                "warning",
                config.asset,
                f"{self._seen.usdt:f} USDT are below the minimum of {config.minimum_usdt:f} and nothing is sold: "
                f"{decision.detail}",
            )

    def _passes(self, decision: Wait) -> bool:
        is_stuck = self.sales.is_stuck() or self.strays.is_stuck()
        return decision.code in _PASSING and not (is_stuck and decision.code in ("selling", "not_compared"))

    def _sell(self, decision: Sell) -> None:
        work = self._work
        number = next_trade_number(work.book.last_trade_number, work.now_ns)
        key = OrderKey(desk=work.desk_number, trade_number=number, leg_index=0, purpose="close", attempt=0)
        row = CashSaleRequested(
            client_order_id=client_order_id(key),
            trade_number=number,
            symbol=self._config.symbol,
            quantity=decision.quantity,
            price=decision.price,
            reserved_usd=decision.reserved_usd,
            why=decision.detail,
        )
        work.record(row)
        self._below = 0
        self.sales.sent(row.client_order_id)
        work.send(
            SellSpot(
                ContractOrder(
                    client_order_id=row.client_order_id,
                    symbol=row.symbol,
                    side="sell",
                    quantity=row.quantity,
                    price=row.price,
                )
            )
        )
