"""docs/states.md, made from the transition tables.

After a change of a table: ``python -m tests.docs.states_page > docs/states.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum

from services.exchange import states as exchange
from services.exchange.model import OrderState as VenueOrderState
from services.execution.states import ORDER_TRANSITIONS, RFQ_TRANSITIONS, TRADE_TRANSITIONS, diagram
from services.risk.states import BREAKER_TRANSITIONS, MARGIN_TRANSITIONS
from shared.messages.rfq import FINAL_RFQ_STATES
from shared.messages.trades import FINAL_ORDER_STATES, FINAL_TRADE_STATES

_INTRODUCTION = """# States

The life of a trade, an order and a request for quote, drawn from the tables that the code obeys:
`services/execution/states.py`, `services/risk/states.py` and `services/exchange/states.py`. What is not in a table
cannot happen; the fold of the journal asserts it. A test fails when this page is out of date; renew it with
`python -m tests.docs.states_page > docs/states.md`.
"""

_TRADES = """## Trades

A trade is one structure of legs. Its state says what execution is doing about it, not what its legs are worth.
"""

_CHUNKS = """## Chunks of a smart opening or close

No state of its own: what a chunk is at follows from the trade's fills and from the rows `spread_crossed`,
`chunk_ended` and `fell_back`, so that a restart finds it where it was. Each leg of the chunk goes this way; long legs
of an opening and short legs of a close first.

```mermaid
stateDiagram-v2
    waiting --> quoted: the legs before it have their part, and the chunk has begun
    quoted --> quoted: its price moved beyond the threshold after the interval
    quoted --> filled: its fills reach the target of the chunk
    quoted --> across: time_per_chunk is over (spread_crossed)
    across --> across: aggressive_wait is over and attempts are left
    across --> filled: its fills reach the target of the chunk
    across --> given_up: the attempts are used up, or the venue refuses for good
    quoted --> given_up: time_per_chunk is over and no attempts are allowed
    filled --> [*]
    given_up --> [*]
```

When all legs are filled the chunk is complete (`chunk_ended`) and the next begins; one whose parts somebody else did
already, as by a close at the venue, is complete with it. When nothing is left, no further chunk is counted. When a
leg has given up, an opening ends as its policy says, and a close goes on by the staircase (`fell_back`); so does a
close of which a leg is lost from outside while others are held.
"""

_ORDERS = """## Orders, as the desk knows them

`UNKNOWN` is a state: the request left and no outcome came. Such an order counts as exposure, is looked for by query,
among open orders and in the history, and is never sent again. Nothing leads into `SENDING`: an order is sent once.
"""

_RFQS = """## Requests for quote, as the desk knows them

`UNKNOWN` is a lost create: it is replaced, and withdrawn when it is found. `ACCEPT_UNKNOWN` is a lost accept: it
counts as exposure, is never sent again, and nothing else is done for the trade until the venue has shown what became
of it.
"""

_VENUE_RFQS = """## Requests for quote and quotes, at the simulated exchange

Both are open until they end. A maker whose quote was not the one accepted reads `TRADED_AWAY` for `FILLED`; an
expired quote reads `CANCELLED` unless configured otherwise (`expired_quote_state`).
"""

_BREAKERS = """## Circuit breakers of risk

`services/risk/states.py`. While one is open nothing of its subject is granted; half open, one trade at a time. What
opens each is in [risk.md](risk.md). Drawdown and daily loss have no `half_open`: they halt, and close when their
figure is a tenth back inside the limit; the halt stays until a person lifts it.
"""

_MARGIN = """## Levels of the margin guard

Any level may follow any other, as an account can fall through several between two reads; what each does is in
[risk.md](risk.md).
"""

_EXCHANGE = """## Orders, at the simulated exchange

The numbers are the venue's own.
"""


def states_page() -> str:
    """The whole page as Markdown."""
    return "\n".join(
        [
            _INTRODUCTION,
            _TRADES,
            *_drawn(diagram(TRADE_TRANSITIONS)),
            *_table(TRADE_TRANSITIONS, FINAL_TRADE_STATES),
            _CHUNKS,
            _ORDERS,
            *_drawn(diagram(ORDER_TRANSITIONS)),
            *_table(ORDER_TRANSITIONS, FINAL_ORDER_STATES),
            _RFQS,
            *_drawn(diagram(RFQ_TRANSITIONS)),
            *_table(RFQ_TRANSITIONS, FINAL_RFQ_STATES),
            _BREAKERS,
            *_drawn(_plain_diagram(BREAKER_TRANSITIONS)),
            *_table(BREAKER_TRANSITIONS, frozenset()),
            _MARGIN,
            *_table(MARGIN_TRANSITIONS, frozenset()),
            _EXCHANGE,
            *_drawn(_exchange_diagram()),
            *_exchange_table(),
            _VENUE_RFQS,
            *_table({"ACTIVE": _ends(exchange.REQUEST_ENDS)}, frozenset()),
            *_table({"OPEN": _ends(exchange.QUOTE_ENDS)}, frozenset()),
        ]
    )


def _drawn(text: str) -> list[str]:
    """A diagram as a block. Mermaid ends a label at a colon or semicolon, so that labels have commas instead."""
    arrows = [line.partition(": ") for line in text.splitlines()]
    labelled = [arrow + colon + label.replace(":", ",").replace(";", ",") for arrow, colon, label in arrows]
    return ["```mermaid", *labelled, "```", ""]


def _table(transitions: Mapping[str, Mapping[str, str]], finals: frozenset[str]) -> list[str]:
    lines = ["| from | to | when |", "|---|---|---|"]
    for source, targets in transitions.items():
        shown = f"`{source}` (final)" if source in finals else f"`{source}`"
        lines += [f"| {shown} | `{target}` | {when} |" for target, when in targets.items()]
        if not targets:
            lines.append(f"| {shown} | - | |")
    return [*lines, ""]


def _ends(ends: Mapping[Enum, str]) -> dict[str, str]:
    return {f"{state.value} (final)": when for state, when in ends.items()}


def _plain_diagram(transitions: Mapping[str, Mapping[str, str]]) -> str:
    lines = [
        f"    {source} --> {target}: {when}" for source, to in transitions.items() for target, when in to.items()
    ]
    return "\n".join(["stateDiagram-v2", *lines])


def _exchange_diagram() -> str:
    lines = ["stateDiagram-v2"]
    for (source, change), target in exchange.TRANSITIONS.items():
        lines.append(f"    {source.name} --> {target.name}: {change.value}")
    lines += [f"    {state.name} --> [*]" for state in VenueOrderState if state.is_final]
    return "\n".join(lines)


def _exchange_table() -> list[str]:
    lines = ["| from | change | to |", "|---|---|---|"]
    for (source, change), target in exchange.TRANSITIONS.items():
        final = " (final)" if target.is_final else ""
        lines.append(f"| `{source.name}` {source} | {change.value} | `{target.name}` {target}{final} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.stdout.write(states_page())
