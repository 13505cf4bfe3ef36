"""The text of a new strategy file, by the structure that it trades: read by people first, a reason at each line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_EXPIRY = '{"dte_min": 7, "dte_max": 21, "target": 14}'
_BY_EXPIRY = f"expiry_criteria={_EXPIRY}"
_NEAR = '{"dte_min": 4, "dte_max": 11}'
_FAR = '{"dte_min": 14, "dte_max": 45}'
_QUANTITY = ('quantity: str = "0.01"', "quantity: of one unit of the structure, in coins of the underlying.")
_CASH = (
    "cash_usd: float = 2_000.0",
    "cash_usd: what pays for the underlying at the strike, USD; the quantity follows.",
)


class _Exits(NamedTuple):
    """What the largest profit and loss are measured by: lines of code with the reason above each."""

    factories: tuple[str, ...]
    lines: tuple[str, ...]


_DEBIT = _Exits(
    ("before_expiry", "max_hold_hours", "max_loss", "profit_target"),
    (
        "# half of the premium paid: a bought structure earns it in one move, and gives it back as fast",
        "profit_target(pct=50),",
        "# the move did not come: half of the premium is worth keeping",
        "max_loss(pct=50),",
        "# hours before the first option trades for the last time: never into settlement",
        "before_expiry(6),",
        "max_hold_hours(24 * 5),",
    ),
)
_CREDIT = _Exits(
    ("dte_exit", "max_loss", "profit_target", "short_leg_delta"),
    (
        "# half of the premium received, as a rule earned in less than half of the time",
        "profit_target(pct=50),",
        "# loses at most as much again as was received; a jump goes through it",
        "max_loss(pct=100),",
        "# a sold option that is about to be in the money",
        "short_leg_delta({short_delta}),",
        "# the last days pay little and move most",
        "dte_exit(1),",
    ),
)
_USD = _Exits(
    ("before_expiry", "max_hold_hours", "max_loss", "profit_target"),
    (
        "# in USD, as the premium may be close to nothing and a share of it with it; fit them to the quantity",
        "profit_target(usd=50),",
        "max_loss(usd=50),",
        "# hours before the first option trades for the last time: never into settlement",
        "before_expiry(6),",
        "max_hold_hours(24 * 5),",
    ),
)


class _Structure(NamedTuple):
    """legs: what its factory in shared.strategy is called with. bets: on what. loses: at most."""

    legs: tuple[str, ...]
    bets: str
    loses: str
    exits: _Exits
    parameter: tuple[str, str] = _QUANTITY
    short_delta: float = 0.40


STRUCTURES: dict[str, _Structure] = {
    "strangle": _Structure(
        ("quantity", "call_delta=0.25", "put_delta=-0.25", 'side="buy"', _BY_EXPIRY),
        "a call and a put out of the money, bought: a bet on a large move in either direction",
        "the premium paid",
        _DEBIT,
    ),
    "straddle": _Structure(
        ("quantity", 'side="buy"', _BY_EXPIRY),
        "a call and a put at the money, bought: a bet on a move larger than options cost",
        "the premium paid",
        _DEBIT,
    ),
    "vertical": _Structure(
        ('"P"', '"sell"', "quantity", 'strike={"type": "delta", "value": 0.25}', "width=4_000", f"expiry={_EXPIRY}"),
        "a put sold and one 4,000 USD below it bought: a bet that the index does not fall far",
        "the width between the strikes less the credit",
        _CREDIT,
        short_delta=0.50,
    ),
    "iron_condor": _Structure(
        ("quantity", f"expiry={_EXPIRY}", "call_delta=0.20", "put_delta=-0.20", "width=4_000"),
        "a strangle sold and wings bought 4,000 USD further out: a bet on a quiet index",
        "the width of the wider wing less the credit",
        _CREDIT,
    ),
    "iron_butterfly": _Structure(
        ("quantity", f"expiry={_EXPIRY}", "width=6_000"),
        "a straddle sold and wings bought 6,000 USD away: a bet that the index stays where it is",
        "the width less the credit",
        _CREDIT,
        short_delta=0.80,
    ),
    "butterfly": _Structure(
        ('"C"', "quantity", f"expiry={_EXPIRY}", "width=4_000"),
        "a wing bought on either side of two calls sold at the money: a small bet that the index stays where it is",
        "the premium paid",
        _DEBIT,
    ),
    "ratio_spread": _Structure(
        ('"P"', "quantity", f"expiry={_EXPIRY}", 'strike={"type": "delta", "value": 0.35}', "width=4_000", "ratio=2"),
        "a put bought and two sold 4,000 USD below it: a bet on a slow fall",
        "nearly the lower strike, should the index go to 0: the second put sold has no wing",
        _USD,
    ),
    "calendar": _Structure(
        ('"C"', "quantity", f"near={_NEAR}", f"far={_FAR}"),
        "a later call bought and a nearer one sold at one strike: a bet that the index stays and volatility holds",
        "the premium paid, while both legs are there",
        _DEBIT,
    ),
    "diagonal": _Structure(
        (
            '"C"',
            "quantity",
            f"near={_NEAR}",
            'near_strike={"type": "delta", "value": 0.25}',
            f"far={_FAR}",
            'far_strike={"type": "closestStrike"}',
        ),
        "a later call at the money bought and a nearer one out of the money sold: a bet on a slow rise",
        "the premium paid, while both legs are there",
        _DEBIT,
    ),
    "risk_reversal": _Structure(
        ("quantity", f"expiry={_EXPIRY}", "call_delta=0.25", "put_delta=-0.25", 'side="buy"'),
        "a call bought and a put sold, both out of the money: a bet on a rise that costs little",
        "the put's strike, should the index go to 0",
        _USD,
    ),
    "covered_call": _Structure(
        ("quantity", f"expiry={_EXPIRY}", 'strike={"type": "delta", "value": 0.25}'),
        "a call sold against coins that the account holds: a bet that the index does not rise far",
        "what the coins would have made above the strike; without the coins it has no bound",
        _CREDIT,
    ),
    "cash_secured_put": _Structure(
        ("cash_usd", f"expiry={_EXPIRY}", 'strike={"type": "delta", "value": 0.25}'),
        "puts sold that cash pays for: a bet that the index does not fall, or pay for waiting to buy",
        "the cash, should the index go to 0, less the premium",
        _CREDIT,
        _CASH,
    ),
}
"""By the name of the factory in shared.strategy."""

DEFAULT_STRUCTURE = "strangle"

_FILE = '''"""{bets_upper}.

It loses at most {loses}.

Say here why it should earn more than it costs, and when you would stop trading it.
"""

from shared.strategy import (
{imports}
)


def {name}(underlying: str = "BTC", {parameter}) -> StrategyConfig:
    """{about}

    underlying: whose options. Both can be set for an instance of its own in voldesk.toml.
    """
    return StrategyConfig(
        # part of the id of every trade: never use it again for something else
        name="{name}",
        # what to trade, found anew on the chain each time; all legs or none. `voldesk strategy show {name}`
        legs=structures.{structure}(
{legs}
        ),
        # all must hold before it opens. `voldesk why {name}` shows each with its reason
        entry_conditions=[
            # hours UTC in which Europe or America is awake and books are deep
            time_window(8, 20),
            weekday_filter(["mon", "tue", "wed", "thu", "fri"]),
            # room for the margin to grow
            min_available_margin_pct(50),
            # no second bet on the same index
            no_existing_position_in([underlying]),
        ],
        # any one of them closes it
        exit_conditions=[
{exits}
        ],
        # "limit": each leg by orders of its own; "smart": all together in chunks; "rfq": one block trade
        execution_mode="limit",
        # how long one order rests, how far past the middle it reaches, how many are sent for a leg
        execution_params=ExecutionParams(fill_timeout_seconds=30.0, aggressive_buffer_pct=1.0, max_requote_rounds=8),
        # an opening that cannot complete is undone: part of a structure is another bet
        policy="atomic",
        max_concurrent_trades=1,
        max_trades_per_day=1,
        # after a trade has ended
        cooldown_seconds=3_600,
        # between two looks at the entry
        check_interval_seconds=15,
        # nobody watches the exits while the host is away: then it is closed
        if_host_silent="close",
        host_silent_after_seconds=900,
        # nothing is sent: trades are kept as if made at the prices of the books. Take it out to trade
        dry_run=True,
    )
'''

_ALWAYS = (
    "ExecutionParams",
    "StrategyConfig",
    "min_available_margin_pct",
    "no_existing_position_in",
    "structures",
    "time_window",
    "weekday_filter",
)


def strategy_file(name: str, structure: str) -> str:
    """The text of `<name>.py` that trades this structure."""
    like = STRUCTURES[structure]
    names = sorted((*_ALWAYS, *like.exits.factories), key=lambda each: (not each[0].isupper(), each))
    declared, about = like.parameter
    return _FILE.format(
        name=name,
        bets_upper=like.bets[0].upper() + like.bets[1:],
        loses=like.loses,
        imports="\n".join(f"    {each}," for each in names),
        parameter=declared,
        about=about,
        structure=structure,
        legs=_indented((*(f"{argument}," for argument in like.legs), "underlying=underlying,")),
        exits=_indented(line.format(short_delta=f"{like.short_delta:.2f}") for line in like.exits.lines),
    )


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(" " * 12 + line for line in lines)
