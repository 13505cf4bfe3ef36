"""Spot is no leg of a trade, though the list and the chain show the pair: nothing is journalled for it or sent."""

from __future__ import annotations

from typing import Any

import pytest

from shared.messages.trades import LegOrder, Refusal
from tests.unit.execution.play import CALL, Script, intent, leg
from tests.unit.spot_pairs import chain_with_pair, with_pair


class SpotScript(Script):
    """A market whose lists and chains have the pair beside the options."""

    def __init__(self) -> None:
        super().__init__()
        self.listing = with_pair(self.listing)

    def inbound(self, message: Any) -> Script:
        if type(message).__name__ == "ChainSnapshot":
            message = chain_with_pair(message, self.listing)
        return super().inbound(message)


@pytest.mark.parametrize("mode", ["limit", "smart", "auto"])
@pytest.mark.parametrize(
    "legs",
    [
        (leg("BTCUSDT", "buy", "0.1"),),
        (leg("BTCUSDT", "sell", "0.1"),),
        (leg(CALL, "sell", "0.1"), leg("BTCUSDT", "buy", "0.1")),
    ],
)
def test_spot_is_refused_in_every_mode(legs: tuple[LegOrder, ...], mode: str) -> None:
    script = SpotScript()
    script.started()
    refused = script.ask(intent(*legs, now_ns=script.now_ns, execution_mode=mode))
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.detail) == ("bad_params", "BTCUSDT is spot, which is not traded as a leg")
    assert script.placed() == []
    assert script.core.book.trades == {}


def test_the_option_alone_is_traded_on_the_same_chain() -> None:
    script = SpotScript()
    script.started()
    assert not isinstance(script.ask(intent(leg(CALL, "sell", "0.1"), now_ns=script.now_ns)), Refusal)
    assert [order.symbol for order in script.placed()] == [CALL]
