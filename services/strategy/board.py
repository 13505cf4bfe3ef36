"""The newest facts from the bus: chains, account, halts, and who was heard when. Volatile."""

from __future__ import annotations

from decimal import Decimal

from shared.messages.account import AccountSnapshot
from shared.messages.control import HaltState
from shared.messages.market import ChainSnapshot, IndexPrice, InstrumentList
from shared.messages.reconciliation import ForeignPosition, ReconciliationReport
from shared.messages.system import Heartbeat
from shared.messages.trades import IntentRefused
from shared.options.chain import ChainView, OptionList
from shared.options.instruments import underlying_of
from shared.strategy.views import SECOND_NS

_LISTS_KEPT = 16
_REFUSED_KEPT = 100


class Board:
    """What the host has been told, and whether the services it needs are there."""

    def __init__(self, account_id: str, silence_max_ns: int) -> None:
        self._account_id = account_id
        self._silence_max_ns = silence_max_ns
        self._lists: dict[str, OptionList] = {}
        self._without_list: dict[str, ChainSnapshot] = {}
        self._heard: dict[str, tuple[int, Heartbeat]] = {}
        self.chains: dict[str, ChainView] = {}
        self.index_prices: dict[str, IndexPrice] = {}
        self.account: AccountSnapshot | None = None
        self.halts: HaltState | None = None
        self.foreign: dict[str, Decimal] | None = None
        """What the venue holds that is no trade's, signed, by symbol; None until execution has told of it."""

        self.stood_against: dict[str, IntentRefused] = {}
        """The newest intent that execution refused because of a trade, by that trade."""

        self.synced_epoch: int | None = None

    def on_list(self, listed: InstrumentList) -> None:
        self._lists[listed.list_id] = OptionList(listed)
        while len(self._lists) > _LISTS_KEPT:
            del self._lists[next(iter(self._lists))]
        waiting = self._without_list.get(listed.underlying)
        if waiting is not None and waiting.list_id == listed.list_id:
            self.on_chain(waiting)

    def on_chain(self, snapshot: ChainSnapshot) -> bool:
        """Take a chain; False if it cannot be read: its list is unknown (it waits for it), or it does not fit."""
        listed = self._lists.get(snapshot.list_id)
        if listed is None:
            self._without_list[snapshot.underlying] = snapshot
            return False
        self._without_list.pop(snapshot.underlying, None)
        try:
            self.chains[snapshot.underlying] = ChainView(snapshot, listed)
        except ValueError:
            return False
        return True

    def on_account(self, account: AccountSnapshot) -> bool:
        if account.account_id != self._account_id:
            return False
        self.account = account
        return True

    def on_halts(self, halts: HaltState) -> bool:
        if halts.account_id != self._account_id:
            return False
        self.halts = halts
        return True

    def on_report(self, report: ReconciliationReport) -> bool:
        if report.account_id != self._account_id:
            return False
        found = (each for each in report.differences if isinstance(each, ForeignPosition))
        self.foreign = {each.symbol: each.quantity for each in found}
        return True

    def on_refused(self, refused: IntentRefused) -> bool:
        if refused.account_id != self._account_id:
            return False
        before = self.stood_against.get(refused.against)
        if refused.against and (before is None or before.at_ns <= refused.at_ns):
            # put last, so that the oldest goes first
            self.stood_against.pop(refused.against, None)
            self.stood_against[refused.against] = refused
            while len(self.stood_against) > _REFUSED_KEPT:
                del self.stood_against[next(iter(self.stood_against))]
        return True

    def on_heartbeat(self, beat: Heartbeat, now_ns: int) -> None:
        self._heard[beat.service] = (now_ns, beat)
        if beat.service == "execution" and self.synced_epoch is not None and beat.epoch > self.synced_epoch:
            self.synced_epoch = None

    def service(self, name: str, now_ns: int) -> str | None:
        """Why the service cannot be counted on, None when it can."""
        if name not in self._heard:
            return f"{name} was not heard yet"
        heard_ns, beat = self._heard[name]
        if now_ns - heard_ns > self._silence_max_ns:
            return f"{name} has been silent for {(now_ns - heard_ns) / SECOND_NS:.1f} s"
        if not beat.ready:
            return f"{name} is not ready: {beat.detail}"
        return None

    def execution(self, now_ns: int) -> str | None:
        """As `service`, and execution's events must have been replayed."""
        if self.synced_epoch is None:
            return "execution's events have not been replayed yet"
        return self.service("execution", now_ns)

    def mid(self, symbol: str) -> float | None:
        """The middle of an option's book in the newest chain, USD per unit; None without two sides."""
        chain = self.chains.get(underlying_of(symbol))
        quote = None if chain is None else chain.quote(symbol)
        return None if quote is None else quote.mid

    def halted(self) -> str | None:
        """The halts in force in words, None when there are none."""
        if self.halts is None or not self.halts.halts:
            return None
        return "; ".join(f"{halt.level} by {halt.raised_by}: {halt.reason}" for halt in self.halts.halts)
