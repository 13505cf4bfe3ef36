"""The leverage of contracts at the simulated exchange, behind the same network as its orders, and what must hold of
the changes that execution asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.exchange import model as ex
from services.exchange.core import ExchangeCore
from services.execution.effects import ReadLeverage, SetLeverage
from services.execution.rows import LeverageAsked, RequestAnswered
from shared.messages.contracts import (
    LeverageRead,
    LeverageReadFailed,
    LeverageRefused,
    LeverageSet,
    LeverageUnknown,
)
from shared.messages.leverage import LeverageChanged
from shared.messages.steps import Entry
from world.rfq import Deliver, Network
from world.violations import Violation


class VenueLeverage:
    """Of one account. `sent`: the changes that were asked for, by request; `taken`: those that the venue made.
    `by_hand`: what somebody else set, as symbol and leverage."""

    def __init__(self, network: Network, exchange: ExchangeCore, account_id: str) -> None:
        self._network = network
        self._exchange = exchange
        self._account_id = account_id
        self.sent: set[str] = set()
        self.taken: set[str] = set()
        self.by_hand: set[tuple[str, int]] = set()

    def of(self, symbol: str) -> int:
        """What it is now. For the checks."""
        return self._exchange.futures.leverage(self._account_id, symbol)

    def read(self, effect: ReadLeverage, asked_ns: int, deliver: Deliver) -> None:
        """Look it up; `asked_ns` is the time of the machine that asks."""
        symbol = effect.symbol
        failed = LeverageReadFailed(symbol=symbol, reason="down: connection reset")
        self._network.read(
            lambda: LeverageRead(symbol=symbol, leverage=self.of(symbol), asked_ns=asked_ns), failed, deliver
        )

    def change(self, effect: SetLeverage, request_id: str, deliver: Deliver) -> None:
        """Ask for a change, as this request of the desk's journal says."""
        symbol = effect.symbol
        self.sent.add(request_id)

        def execute() -> LeverageSet | LeverageRefused:
            refusal = self._network.refusal()
            if refusal is not None:
                kind = "throttled" if refusal[0] == 429 else "rejected"
                return LeverageRefused(symbol=symbol, code=refusal[0], text=refusal[1], kind=kind)  # type: ignore[arg-type]
            result = self._set(symbol, effect.leverage)
            if isinstance(result, ex.LeverageChanged):
                self.taken.add(request_id)
                return LeverageSet(symbol=symbol, leverage=effect.leverage)
            return LeverageRefused(symbol=symbol, code=result.code, text=result.message)

        self._network.call(execute, LeverageUnknown(symbol=symbol, reason="time-out"), deliver)

    def set_by_hand(self, symbol: str, leverage: int) -> None:
        """Somebody else on the account changes it, where the venue lets him."""
        if isinstance(self._set(symbol, leverage), ex.LeverageChanged):
            self.by_hand.add((symbol, leverage))

    def _set(self, symbol: str, leverage: int) -> ex.LeverageResult:
        now_ns = self._network.engine.now_ns
        result: ex.LeverageResult = self._network.run(
            self._exchange.futures.set_leverage(self._account_id, symbol, leverage, now_ns)
        )
        return result


def asked_by(effect: SetLeverage, entries: Iterable[Entry]) -> LeverageAsked | None:
    """The row that says of this change that it is about to be asked for: the last of its contract."""
    rows = [
        entry.row for entry in entries if isinstance(entry.row, LeverageAsked) and entry.row.symbol == effect.symbol
    ]
    return rows[-1] if rows and rows[-1].leverage == effect.leverage else None


def change_violations(effect: SetLeverage, row: LeverageAsked | None, venue: VenueLeverage) -> Iterator[Violation]:
    """A change on its way out: its row must be written by now, and it must not have been sent before."""
    what = f"leverage {effect.leverage} of {effect.symbol}"
    if row is None:
        yield Violation("leverage_asked_once", f"{what} is asked for and in no row of the journal")
    elif row.request_id in venue.sent:
        yield Violation("leverage_asked_once", f"{what} is asked for again by request {row.request_id}")


def leverage_violations(venue: VenueLeverage, entries: Iterable[Entry], *, at_rest: bool) -> Iterator[Violation]:
    """What was told of changes was true; at rest, something was told of each."""
    asked: dict[str, LeverageAsked] = {}
    for entry in entries:
        match entry.row:
            case LeverageAsked() as row:
                asked[row.request_id] = row
            case RequestAnswered(request_id=request_id, answer=answer) if request_id in asked:
                row = asked.pop(request_id)
                is_there = request_id in venue.taken or (row.symbol, row.leverage) in venue.by_hand
                if not isinstance(answer, LeverageChanged) and request_id in venue.taken:
                    yield Violation("leverage_true", f"{row} counts as {answer}, and the venue made the change")
                if isinstance(answer, LeverageChanged) and not is_there and venue.of(row.symbol) != row.leverage:
                    yield Violation("leverage_true", f"{row} counts as made, and the venue never had it")
            case _:
                pass
    for row in asked.values() if at_rest else ():
        yield Violation("leverage_known", f"nobody was told what became of {row}")
