"""The way of a roll's successor: grant from risk, the close of the trade whose place it takes, then the opening."""

from __future__ import annotations

from decimal import Decimal

from services.strategy.config import StrategyHostConfig
from services.strategy.flight import MS, SECOND_NS, Ended, Flight
from services.strategy.rows import RollBegun
from shared.messages.steps import SendRequest
from shared.strategy.protocol import OpenStructure


class RollFlight(Flight):
    """`waiting`: why the opening does not begin yet. Between its grant and its opening it waits in stage closing."""

    def __init__(
        self,
        intent: OpenStructure,
        *,
        strategy: str,
        ordinal: int,
        account_id: str,
        config: StrategyHostConfig,
        now_ns: int,
        rolled_from: str,
        because: str,
        within_s: float,
        decision_prices: tuple[float | None, ...],
    ) -> None:
        super().__init__(
            intent,
            strategy=strategy,
            ordinal=ordinal,
            account_id=account_id,
            config=config,
            now_ns=now_ns,
            entry_reasons=(f"roll: {because}",),
            decision_prices=decision_prices,
        )
        self._rolled_from = rolled_from
        self._longer_s = within_s
        self.because = because
        self.waiting = ""

    @staticmethod
    def resumed(begun: RollBegun, account_id: str, config: StrategyHostConfig) -> RollFlight:
        """As it was once the close was asked for, in a host that was started anew."""
        flight = RollFlight(
            begun.structure,
            strategy=begun.strategy,
            ordinal=begun.ordinal,
            account_id=account_id,
            config=config,
            now_ns=begun.made_ns,
            rolled_from=begun.trade_id,
            because=begun.reason,
            within_s=0.0,
            decision_prices=begun.decision_prices,
        )
        flight._grant = begun.grant
        flight.stage = "closing"
        return flight

    @property
    def intent(self) -> OpenStructure:
        return self._intent

    @property
    def rolled_from(self) -> str:
        return self._rolled_from

    @property
    def reason(self) -> str:
        return f"{super().reason}{f': {self.waiting}' if self.waiting else ''}"

    def begun(self, net_limit_usd: float, within_s: float, now_ns: int) -> RollBegun:
        """The row with which the close is asked for."""
        assert self._grant is not None, "a close begins with the successor's grant"
        return RollBegun(
            strategy=self._strategy,
            trade_id=self._rolled_from,
            ordinal=self.ordinal,
            structure=self._intent,
            net_limit_usd=net_limit_usd,
            grant=self._grant,
            reason=self.because,
            open_by_ns=now_ns + int(within_s * SECOND_NS),
            made_ns=self._made_ns,
            decision_prices=self._decision_prices,
        )

    def open(self, limits: tuple[Decimal, ...], open_by_ns: int) -> SendRequest:
        """Ask execution for the successor. Asked again by a host that was started anew, it is the same question."""
        self._price_limits = limits
        self._valid_until_ns = open_by_ns + self._config.intent_valid_ms * MS
        self.waiting = ""
        self.stage = "opening"
        return self._ask_to_open()

    def on_due(self, now_ns: int) -> SendRequest | Ended | None:
        if self.stage == "closing":
            self.due_ns = now_ns + SECOND_NS
            return None
        return super().on_due(now_ns)

    def _granted(self, now_ns: int) -> SendRequest | None:
        self.stage = "closing"
        self._request = None
        self.due_ns = now_ns + SECOND_NS
        return None
