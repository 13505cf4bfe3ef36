"""The countdown (dead-man switch): unless it is restarted in time, orders end and new ones are refused.

One per account and index. When it lapses, the open orders of its scope are cancelled and new ones are answered
with 10619 until it is reset, as the venue's error text says; what the scope is and what resets it are switches.
"""

from collections.abc import Sequence

from services.exchange.accounts import Countdown, ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.model import CountdownResult, CountdownsChanged, Rejection, SetCountdown
from services.exchange.rows import CountdownFired, CountdownRestarted, CountdownSet
from services.exchange.trading import Trading
from services.exchange.transaction import Transaction

COUNTDOWN_MS_MAX = 86_400_000
FIRED_CODE = 10619


class Countdowns:
    """Decides; every change goes through the transaction that is passed in."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, trading: Trading) -> None:
        self._switches = config.switches
        self._indices = tuple(f"{base.base}USD" for base in config.bases)
        self._state = state
        self._trading = trading

    def set(self, account_id: str, command: SetCountdown, transaction: Transaction) -> CountdownResult:
        """Arm anew, whether or not one is running or has fired; 0 ms disarms."""
        if command.index not in self._indices:
            return Rejection(10579, f"index {command.index} does not exist")
        if not 0 <= command.countdown_ms <= COUNTDOWN_MS_MAX:
            text = f"countdownTime {command.countdown_ms} error: it must be from 0 to {COUNTDOWN_MS_MAX} ms"
            return Rejection(10573, text)
        transaction.commit(
            CountdownSet(
                account_id=account_id,
                index=command.index,
                countdown_ms=command.countdown_ms,
                at_ns=transaction.now_ns,
            )
        )
        return CountdownsChanged((command.index,))

    def restart(self, account_id: str, indices: Sequence[str], transaction: Transaction) -> CountdownResult:
        """Let those of the indices that have one run anew; one that has fired only if the configuration says so."""
        for index in indices:
            if index not in self._indices:
                return Rejection(10579, f"index {index} does not exist")
        restarted = []
        for index in dict.fromkeys(indices):
            countdown = self._state.countdowns.get((account_id, index))
            if countdown is None or (countdown.fired and self._switches.countdown_reset == "set"):
                continue
            transaction.commit(CountdownRestarted(account_id=account_id, index=index, at_ns=transaction.now_ns))
            restarted.append(index)
        return CountdownsChanged(tuple(restarted))

    def active(self, account_id: str) -> list[tuple[str, Countdown]]:
        """Those that run, by index; one that has fired does not run."""
        mine = sorted((key[1], each) for key, each in self._state.countdowns.items() if key[0] == account_id)
        return [(index, countdown) for index, countdown in mine if not countdown.fired]

    def fire(self, until_ns: int, transaction: Transaction) -> None:
        """Fire those that lapsed at or before `until_ns`, each at its own instant."""
        due = sorted(
            (countdown.deadline_ns, account_id, index)
            for (account_id, index), countdown in self._state.countdowns.items()
            if not countdown.fired and countdown.deadline_ns <= until_ns
        )
        for deadline_ns, account_id, index in due:
            transaction.now_ns = deadline_ns
            for scope in self._indices if self._switches.countdown_scope == "account" else (index,):
                self._trading.cancel_all(account_id, scope, transaction)
            transaction.commit(CountdownFired(account_id=account_id, index=index, at_ns=deadline_ns))
        transaction.now_ns = max(transaction.now_ns, until_ns)

    def refusal(self, account_id: str, symbol: str) -> Rejection | None:
        """Why an account may place no order in an option: a countdown has fired."""
        for (owner, index), countdown in self._state.countdowns.items():
            in_scope = self._switches.countdown_scope == "account" or symbol.startswith(f"{index}-")
            if owner == account_id and countdown.fired and in_scope:
                return Rejection(FIRED_CODE, f"order rejected: the countdown of {index} fired and must be reset")
        return None
