"""When the lists of options change, and what is on them from then on."""

from collections.abc import Mapping

from services.exchange.accounts import ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.contracts import Contracts
from services.exchange.listing import next_expiry_time
from services.exchange.model import InstrumentsEvent, Rejection
from services.exchange.quotes import BaseMarket
from services.exchange.rows import ExpiryListed

MINUTE_NS = 60_000_000_000


class Calendar:
    """Decides about the lists of all bases; an operator's expiries are rows, and everything else follows from the
    configuration and from how far the lists have come.

    `delay_ns`: the calendar runs late by this: what expired stays listed until it is settled.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        state: ExchangeState,
        markets: Mapping[str, BaseMarket],
        contracts: Contracts,
        origin_ns: int,
    ) -> None:
        """The lists as they are at `origin_ns`, the instant of step 0."""
        self._state = state
        self._markets = markets
        self._contracts = contracts
        self._origin_ns = origin_ns
        self._step_ns = config.step_ms * 1_000_000
        self.delay_ns = -(-config.switches.settlement_delay_ms // config.step_ms) * self._step_ns
        self.roll(origin_ns)

    def next_ns(self) -> int:
        """The next instant after the last `roll` at which a list changes."""
        instants = [next_expiry_time(self._rolled_ns - self.delay_ns) + self.delay_ns]
        for base in self._markets:
            for expiry_ns, listed_ns in self._extra_expiries(base).items():
                instants += [at_ns for at_ns in (listed_ns, expiry_ns + self.delay_ns) if at_ns > self._rolled_ns]
        return min(instants)

    def roll(self, at_ns: int) -> list[InstrumentsEvent]:
        """Bring the lists to `at_ns`."""
        events = []
        step = max(at_ns - self._origin_ns, 0) // self._step_ns
        for base, market in self._markets.items():
            version, before = market.listing.version, market.listing.symbols
            extra = [expiry for expiry, listed in self._extra_expiries(base).items() if listed <= at_ns]
            market.listing.roll(at_ns - self.delay_ns, market.path.price(step), extra)
            if market.listing.version != version:
                market.forget()
                self._state.forget_trades(symbol for symbol in before if market.listing.row(symbol) is None)
                events.append(InstrumentsEvent(base))
        self._state.forget_trades(self._contracts.roll(at_ns - self.delay_ns))
        self._rolled_ns = at_ns
        return events

    def extra_expiry(self, base: str, expiry_ns: int, now_ns: int, at_ns: int) -> ExpiryListed | Rejection:
        """An expiry that an operator wants listed from the current step `at_ns` on, or why it cannot be."""
        market = self._markets.get(base)
        if market is None:
            return Rejection(10579, f"index of {base} does not exist")
        if expiry_ns <= now_ns or expiry_ns % self._step_ns:
            return Rejection(10573, "an expiry must be later than now and a multiple of the step")
        if expiry_ns in market.listing.expiries():
            return Rejection(10573, "an expiry at that minute is listed already")
        if not market.listing.has_room(expiry_ns):
            return Rejection(10573, "too many expiries of that date are listed")
        return ExpiryListed(base=base, expiry_ns=expiry_ns, at_ns=at_ns)

    def _extra_expiries(self, base: str) -> dict[int, int]:
        """Extra expiries of a base with the time of their listing."""
        extra = dict(self._state.extra_expiries.get(base, {}))
        minutes = self._markets[base].config.listing.extra_expiry_minutes
        if minutes is not None:
            extra[-(-self._origin_ns // MINUTE_NS) * MINUTE_NS + minutes * MINUTE_NS] = self._origin_ns
        return extra
