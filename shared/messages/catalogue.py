"""The message catalogue, docs/messages.md, made from the messages themselves.

After a change of a message: ``python -m shared.messages.catalogue > docs/messages.md``.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from shared.messages import (
    account,
    alerts,
    cash,
    conditions,
    control,
    countdowns,
    inquiries,
    leverage,
    market,
    on_demand,
    quality,
    quote_requests,
    quoting,
    reconciliation,
    reducing,
    risk,
    system,
    trades,
)
from shared.messages.base import Message, schema_id
from shared.messages.conditions import Condition
from shared.messages.topics import TOPICS, Topic

FAMILIES: tuple[types.ModuleType, ...] = (
    market,
    on_demand,
    quoting,
    account,
    risk,
    control,
    trades,
    reducing,
    inquiries,
    quote_requests,
    countdowns,
    cash,
    leverage,
    quality,
    reconciliation,
    alerts,
    system,
)

REQUESTS: tuple[tuple[str, type[Message], tuple[type[Message], ...]], ...] = (
    ("marketdata", on_demand.LeaseBooks, (on_demand.BooksLeased,)),
    ("marketdata", on_demand.GetOrderBook, (on_demand.OrderBookAnswer,)),
    ("marketdata", on_demand.GetLastTrades, (on_demand.LastTrades,)),
    ("marketdata", on_demand.GetKlines, (on_demand.Klines,)),
    ("marketdata", on_demand.GetFundingRate, (on_demand.FundingRateAnswer,)),
    ("execution", trades.OpenTrade, (trades.TradeAccepted,)),
    ("execution", trades.CloseTrade, (trades.CloseAccepted,)),
    ("execution", reducing.ReduceTrade, (reducing.ReductionAccepted,)),
    ("execution", trades.CancelOrders, (trades.CancelAccepted,)),
    ("execution", quoting.ChangeOrders, (quoting.OrdersChanged,)),
    ("execution", control.RaiseHalt, (control.HaltsAnswered,)),
    ("execution", control.LiftHalts, (control.HaltsAnswered,)),
    ("execution", trades.ListTrades, (trades.TradeList,)),
    ("execution", trades.ListOrders, (trades.OrderList,)),
    ("execution", trades.TellTrade, (trades.TradeStory,)),
    ("execution", quality.ListQuality, (quality.QualityList,)),
    ("execution", reconciliation.ListDifferences, (reconciliation.DifferenceList,)),
    ("execution", reconciliation.AdoptPosition, (reconciliation.PositionAdopted,)),
    ("execution", inquiries.QuoteStructure, (inquiries.StructureQuotes,)),
    ("execution", inquiries.ListInquiries, (inquiries.InquiryList,)),
    ("execution", quote_requests.ListQuoteRequests, (quote_requests.QuoteRequestList,)),
    ("execution", countdowns.ListCountdowns, (countdowns.CountdownList,)),
    ("execution", cash.GetCash, (cash.CashStatus,)),
    ("execution", leverage.GetLeverage, (leverage.LeverageList,)),
    ("execution", leverage.ChangeLeverage, (leverage.LeverageChanged,)),
    ("risk", control.RequestGrant, (control.GrantGiven, control.GrantRefused)),
    ("risk", control.GetAccount, (control.AccountAnswer,)),
    ("risk", risk.GetRisk, (risk.RiskAnswer,)),
    ("risk", risk.WhatIf, (risk.WhatIfAnswer,)),
    ("risk", risk.ResetBreaker, (risk.BreakersReset,)),
    ("strategy", control.StrategyCommand, (control.StrategyCommandDone,)),
    ("strategy", control.RollTrade, (control.RollWanted,)),
    ("strategy", control.SteerHedge, (control.HedgeSteered,)),
    ("strategy", control.ListStrategies, (control.StrategyList,)),
    ("strategy", control.ListDryTrades, (control.DryTradeList,)),
    ("monitor", alerts.ListAlerts, (alerts.AlertList,)),
    ("monitor", alerts.AcknowledgeAlert, (alerts.AlertAcknowledgement,)),
    ("every service", system.GetStatus, (system.Heartbeat,)),
    ("every service", system.Replay, (system.ReplayAnswer,)),
    ("every service", system.GetStates, (system.StatesAnswer,)),
)
"""Who answers which request, and with what. Any request may be answered by a `Refusal` instead."""

_PLAIN: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "float",
    bool: "bool",
    bytes: "bytes",
    memoryview: "bytes",
    Decimal: "decimal",
    type(None): "nil",
}

_INTRODUCTION = """# Messages

Everything that travels between the processes. This page is made from the code in `shared/messages/` and a test fails
when it is out of date; renew it with `python -m shared.messages.catalogue > docs/messages.md`.

## A frame

A message is one ZeroMQ frame: the topic, a zero byte, and one msgpack array of eight elements.

| # | element | type | meaning |
|--:|---|---|---|
| 0 | schema | text | schema id of the body, such as `trade.1`; a change that breaks a reader raises the number |
| 1 | publisher | text | the service that sent it |
| 2 | epoch | integer | changes with each start of the publisher |
| 3 | sequence | integer | from 1, contiguous per topic within one epoch; 0 on requests and replies |
| 4 | message_id | text | of a request: its id |
| 5 | cause_id | text | id of the message this one follows from, empty if none; of a reply: the id of its request |
| 6 | published_ns | integer | UTC nanoseconds |
| 7 | body | map or array | the message |

A body is a map with its field names, and its schema id once more under `schema`; fields of a message that have their
default value are left out. The messages marked *array* are arrays instead: the schema id, then the fields in the
order of their table. Decimals travel as text in plain notation (`"0.0001"`), so that no reader turns them into a
float by accident. Times end in `_ns`: UTC, integer nanoseconds. Units and signs are those of
[conventions.md](conventions.md).

Any msgpack library can read it. In Python, without any code of this project:

```python
import msgpack

HEADER = ("schema", "publisher", "epoch", "sequence", "message_id", "cause_id", "published_ns")


def read_frame(frame):
    topic, _, array = frame.partition(b"\\0")
    *header, body = msgpack.unpackb(array)
    return topic.decode(), dict(zip(HEADER, header)), body
```

A service publishes at `ipc://<run directory>/sockets/<service>.events`, on a PUB socket. So this follows everything
that execution says, beginning with `follow("ipc://run/main/sockets/execution.events", "exec.")`:

```python
import zmq


def follow(address, prefix):
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.subscribe(prefix.encode())
    socket.connect(address)
    try:
        while True:
            yield read_frame(socket.recv())
    finally:
        socket.close(0)
```

A chain's `matrix` is float64, little-endian, one row per column name below:

```python
import numpy


def chain_columns(body):
    schema, underlying, list_id, venue_ns, received_ns, index_price, index_received_ns, matrix, *_ = body
    rows = numpy.frombuffer(matrix, dtype="<f8").reshape(len(CHAIN_COLUMNS), -1)
    return dict(zip(CHAIN_COLUMNS, rows))
```

Requests go to `ipc://<run directory>/sockets/<service>.requests` from a DEALER socket: a frame with the topic
`request` whose `message_id` the client has made. The answer is a frame with the topic `reply` and that id as its
`cause_id`. The same id sent again by the same publisher name gets the same answer and acts once; repeat a request
with its id until it is answered or no longer wanted. A request that cannot be read (an unknown schema, a field of a
wrong type, more than 64 KB) is refused with the code `unreadable_request`, which names the field; that answer is not
remembered. A decimal must be finite, at most 80 characters long and not above 1e30.
"""


def catalogue() -> str:
    """The whole page as Markdown."""
    lines = [_INTRODUCTION, *_columns(), *_topics(), *_requests()]
    structures: dict[type[msgspec.Struct], None] = {}
    for family in FAMILIES:
        name = family.__name__.rpartition(".")[2]
        lines += [f"## Family `{name}`", "", _text(family), ""]
        for kind in _messages_of(family):
            lines += _section(kind)
            structures.update(dict.fromkeys(_inner(kind)))
    lines += ["## Structures inside messages", ""]
    for structure in sorted(structures, key=lambda each: each.__name__):
        if not issubclass(structure, Condition):
            lines += _section(structure)
    lines += ["## Conditions", "", _text(conditions), "", "Each is a map with its kind under `kind`.", ""]
    for structure in structures:
        if issubclass(structure, Condition):
            lines += _section(structure)
    return "\n".join(lines).rstrip() + "\n"


def _columns() -> list[str]:
    names = ", ".join(f"`{name}`" for name in market.CHAIN_COLUMNS)
    return [f"`CHAIN_COLUMNS`, in this order: {names}.", ""]


def _topics() -> list[str]:
    lines = [
        "## Topics",
        "",
        "Of a *state* only the newest counts. Of an *event* every one counts: a reader that misses one asks for a "
        "replay, which holds the newest message per entity, or every message where each stands for itself.",
        "",
        "| topic | message | published by | kind | replay holds | longest normal silence |",
        "|---|---|---|---|---|---|",
    ]
    return [*lines, *(_topic(row) for row in TOPICS), ""]


def _topic(row: Topic) -> str:
    silence = "-" if row.silence_max_ms is None else f"{row.silence_max_ms / 1_000:g} s"
    publisher = "every service" if row.publisher == "*" else row.publisher
    held = "-" if row.kind == "state" else "newest per entity" if row.message.key is not Message.key else "all"
    return f"| `{row.pattern}` | {_link(row.message)} | {publisher} | {row.kind} | {held} | {silence} |"


def _requests() -> list[str]:
    lines = [
        "## Requests",
        "",
        f"Any request may be answered with a {_link(trades.Refusal)} instead: a stable code, the detail, the remedy.",
        "",
        "| asked of | request | answer |",
        "|---|---|---|",
    ]
    for service, request, answers in REQUESTS:
        lines.append(f"| {service} | {_link(request)} | {' or '.join(map(_link, answers))} |")
    return [*lines, ""]


def _messages_of(family: types.ModuleType) -> list[type[Message]]:
    """The messages that a family's module defines, in its order."""
    return [
        member
        for member in vars(family).values()
        if isinstance(member, type) and issubclass(member, Message) and member.__module__ == family.__name__
    ]


def _section(kind: type[msgspec.Struct]) -> list[str]:
    lines = [f"### {kind.__name__}", ""]
    if issubclass(kind, Message):
        lines += [f"`{schema_id(kind)}`{_form(kind)}{_carried_by(kind)}", ""]
    elif issubclass(kind, Condition):
        lines += [f"`{kind.__struct_config__.tag}`", ""]
    elif kind.__struct_config__.array_like:
        lines += ["*array*", ""]
    elif kind.__struct_config__.tag is not None:
        lines += [f"A map with `{kind.__struct_config__.tag}` under `{kind.__struct_config__.tag_field}`.", ""]
    if text := _text(kind):
        lines += [text, ""]
    fields = msgspec.structs.fields(kind)
    if not fields:
        return [*lines, "No fields.", ""]
    lines += ["| field | type | default |", "|---|---|---|"]
    lines += [f"| `{field.name}` | {_type(field.type)} | {_default(field)} |" for field in fields]
    return [*lines, ""]


def _form(kind: type[Message]) -> str:
    return ", *array*" if kind.__struct_config__.array_like else ""


def _carried_by(kind: type[Message]) -> str:
    topics = [f"`{row.pattern}`" for row in TOPICS if row.message is kind]
    return f", on {', '.join(topics)}" if topics else ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return _shown(field.default_factory())
    return "" if field.default is msgspec.NODEFAULT else _shown(field.default)


def _shown(value: object) -> str:
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case str():
            return f'`"{value}"`'
        case tuple():
            return ", ".join(map(_shown, value)) or "empty"
        case msgspec.Struct():
            return f"{_link(type(value))} with its defaults"
        case _:
            return str(value)


def _type(kind: Any) -> str:
    """A type in the words of msgpack, with links to structures."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _link(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if origin is tuple:
        assert arguments[1:] == (...,), f"{kind} is not a tuple of any length"
        return f"array of {_type(arguments[0])}"
    if origin is dict:
        return f"map from {_type(arguments[0])} to {_type(arguments[1])}"
    assert origin in (Union, types.UnionType), f"the catalogue has no words for {kind}"
    if all(isinstance(part, type) and issubclass(part, Condition) for part in arguments):
        return "one of the [conditions](#conditions)"
    return " or ".join(map(_type, arguments))


def _inner(kind: Any, within: tuple[Any, ...] = ()) -> Iterator[type[msgspec.Struct]]:
    """The structures inside a type, at every depth, that are no messages. `within`: those that it is a part of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind in within:
            return
        if not issubclass(kind, Message):
            yield kind
        for field in msgspec.structs.fields(kind):
            yield from _inner(field.type, (*within, kind))
    for argument in get_args(kind):
        yield from _inner(argument, within)


def _link(kind: type[msgspec.Struct]) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def _text(documented: Any) -> str:
    return inspect.cleandoc(documented.__doc__ or "").replace("``", "`")


if __name__ == "__main__":
    sys.stdout.write(catalogue())
