"""Somebody who pays money in and out of the account while the desk trades."""

from __future__ import annotations

from decimal import Decimal

from world.desk import Desk
from world.faults import SECOND

_LEAST_USD = Decimal(30_000)
"""What he leaves: with less nothing could be traded."""


class Treasurer:
    """Acts at moments of a Poisson process; at the end the account has no less than at the beginning."""

    def __init__(self, desk: Desk, pause_s: float, until_ns: int) -> None:
        self._desk = desk
        self._exchange = desk.venue.exchange
        self._account_id = desk.venue.account_id
        self._first_usd = desk.venue.config.accounts[0].initial_balance_usd
        when_ns = desk.engine.now_ns
        while pause_s:
            when_ns += int(desk.engine.random.expovariate(1 / pause_s) * SECOND)
            if when_ns >= until_ns:
                break
            desk.engine.at(when_ns, self._act)
        if pause_s:
            desk.engine.at(until_ns, self._make_good)

    def _act(self) -> None:
        """Take out, or pay in, up to half of what is there."""
        random, now_ns = self._desk.engine.random, self._desk.engine.now_ns
        equity_usd = self._exchange.account_summary(self._account_id).equity
        amount = Decimal(round(float(equity_usd) * random.uniform(0.05, 0.5)))
        if random.random() < 0.5:
            self._exchange.deposit(self._account_id, amount, now_ns)
        elif equity_usd - amount >= _LEAST_USD:
            # what more than is available is asked for is refused, as by the venue
            self._exchange.withdraw(self._account_id, amount, now_ns)

    def _make_good(self) -> None:
        missing = self._first_usd - self._exchange.account_summary(self._account_id).equity
        if missing > 0:
            self._exchange.deposit(self._account_id, missing, self._desk.engine.now_ns)
