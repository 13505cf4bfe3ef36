"""Spot is granted to nobody, though the chain shows the pair."""

from __future__ import annotations

import pytest

from shared.messages.trades import LegOrder
from tests.unit.risk.desk import CALL_110, INDEX, LISTED, START, Script, ask, chain, leg
from tests.unit.spot_pairs import chain_with_pair, with_pair

LISTING = with_pair(LISTED)


class SpotScript(Script):
    """A market whose lists and chains have the pair beside the options."""

    def market(self, at_s: float = 0.0, **changes: object) -> Script:
        self.hear(LISTING, at_s)
        plain = chain(START + int(at_s * 1e9), **changes)  # type: ignore[arg-type]
        self.hear(chain_with_pair(plain, LISTING, INDEX - 10, INDEX + 10), at_s)
        self.hear(chain_with_pair(plain, LISTING, INDEX - 10, INDEX + 10), at_s)
        return self


@pytest.mark.parametrize(
    "legs",
    [
        (leg("BTCUSDT", "buy", "0.1"),),
        (leg("BTCUSDT", "sell", "0.1"),),
        (leg(CALL_110, "sell", "0.1"), leg("BTCUSDT", "buy", "0.1")),
    ],
)
def test_spot_is_refused_alone_and_beside_an_option(legs: tuple[LegOrder, ...]) -> None:
    refused = SpotScript().ready().refused(ask("s-1", legs, max_loss_usd=500.0))
    assert (refused.code, refused.detail) == ("unknown_instrument", "spot is not traded as a leg: BTCUSDT")


def test_the_option_alone_is_granted_on_the_same_chain() -> None:
    SpotScript().ready().granted(ask("s-1", (leg(CALL_110, "sell", "0.1"),), max_loss_usd=500.0))
