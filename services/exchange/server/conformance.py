"""docs/venues/coincall-sim.md: how far the simulated exchange is the venue, made from the routing and channel tables.

What is served is done; what is not served stands here with its reason. After a change:
``python -m services.exchange.server.conformance > docs/venues/coincall-sim.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from services.exchange.config import ExchangeConfig
from services.exchange.server.channels import CHANNELS
from services.exchange.server.openquestions import QUESTIONS
from services.exchange.server.routes import all_endpoints
from services.exchange.server.spot_channels import SPOT_CHANNELS
from services.exchange.switches import Switches

Status = Literal["done", "todo", "exempt"]


class Missing(msgspec.Struct, frozen=True):
    """Endpoints or channels that are not served, and why."""

    status: Status
    reason: str
    names: tuple[str, ...]


_BLOCK = "/open/option/blocktrade"
_FUTURES = "/open/futures"

MISSING_ENDPOINTS: tuple[Missing, ...] = (
    Missing(
        "exempt",
        "not trading: the paper account has no chain addresses, sub-accounts, rewards, referrals or loans",
        (
            "GET /open/account/sysTransferRecords/v1",
            "GET /open/account/getDepositAddress/v1",
            "GET /open/account/getDepositAddressList/v1",
            "GET /open/user/subAccount/list/v1",
            "POST /open/user/subAccount/fund/transfer/v1",
            "GET /open/user/subAccount/transfer/records/v1",
            "GET /open/futures/lending/detail/v1",
            "GET /open/referral/sub/v1",
        ),
    ),
    Missing(
        "exempt",
        "legacy: the endpoints under `/open/option/blocktrade` replaced it in 2025",
        (
            "GET /open/option/blockTrade/seek/list/v1",
            "POST /open/option/blockTrade/quote/create/v1",
            "GET /open/option/blockTrade/quote/cancel/v1/{quoteId}",
        ),
    ),
    Missing(
        "exempt",
        "undocumented: seen in some client, of the web site or a guess; what it answers is not known",
        (
            "GET /open/public/index/v1",
            "GET /open/futures/ticker/{symbol}",
            "GET /open/account/wallet/v1",
            "POST /open/options/create/v1",
            "GET /open/option/position/list/v1",
            "GET /md/orderbook",
            "GET /auth/start/v1",
            "GET /futures/market/quote/symbols/v1",
            "GET /futures/trade/public/contractConfig/v3",
            "GET /futures/trade/public/ladderConfig/v3",
        ),
    ),
)

MISSING_CHANNELS: tuple[Missing, ...] = (
    Missing("exempt", "legacy: the channels 22 to 131 replaced it", ("options blockTrade 20",)),
    Missing("exempt", "undocumented: the stepped book of the web site", ("futures stepped book 58",)),
)

NOTES: dict[str, str] = {
    "GET /open/public/fundingRate/v1": "of the next funding, from the premium of its eight hours, those to come too",
    f"GET {_FUTURES}/market/symbol/v1": "perpetuals and dated futures; with `symbol` a single object",
    f"GET {_FUTURES}/market/instruments/v1": "perpetuals; open interest is 0",
    f"GET {_FUTURES}/market/kline/history/v2/{{symbol}}": "of the public tape; extremes and volume from at most 60 "
    "trades of a bar; at most the newest 1000 bars",
    f"GET {_FUTURES}/order/orderbook/v1/{{symbol}}": "the makers have 40 levels",
    f"GET {_FUTURES}/order/pending/v1": "stop orders that wait among them (`pending_stops`)",
    f"POST {_FUTURES}/order/create/v1": "types 1 to 5; stop orders are triggered by the mark (`stop_trigger`)",
    f"POST {_FUTURES}/order/modify/v1": "answers the order's id, which may be a new one (`amended_future_id`)",
    f"POST {_FUTURES}/leverage/set/v1": "40038 with a position or orders in the contract",
    f"GET {_FUTURES}/position/get/v1": "`elp`: with everything but this contract's mark as it is",
    f"GET {_FUTURES}/delivery/settlement/history/v1": "dated futures settle as options do, at the mean index of the "
    "last half hour",
    "GET /open/spot/market/instruments": "an array; with `symbol` one object",
    "GET /open/spot/market/klines": "of the public tape; extremes and volume from at most 60 trades of a bar",
    "GET /open/spot/market/overviewV2": "without `symbol` a map by symbol",
    "POST /open/spot/trade/order/v1": "the unit of a market buy's `qty` is `spot_market_buy_quantity`",
    "POST /open/spot/trade/cancel/v1": "10537 for an order that has ended",
    "futures kline 31": "at most once a second, when the bar has changed",
    "futures orderBook 32": "looked at every 100 ms, pushed when it has changed (`repeat_books`: always)",
    "futures lastTrade 33": "each trade at the step in which it happens",
    "futures lastTradeV2 43": "each trade at the step in which it happens",
    "futures order 35": "on each event; a stop order that waits has `os` -2",
    "futures position 36": "once a second, one frame per position; `ctp` of dated futures is `D`",
    "futures trade 38": "on each fill",
    "futures premiumIndex 44": "once a second: the premium of the current minute",
    "futures positionEvent 46": "on each change, with each funding too",
    "GET /open/account/historyList/v1": "deposits and withdrawals that the control API books",
    "GET /open/option/market/kline/history/v1/{symbol}": "of the public tape and the clients' trades; `limit` 1 does "
    "not limit, at most the newest 1000 bars",
    "GET /open/option/trade/lasttrade/v1/{symbol}": "of today and the day before (UTC)",
    "GET /open/option/order/history/v1": "pages in both directions (`direction` is documented for other lists)",
    "GET /open/option/trade/history/v1": "pages in both directions (`direction` is documented for other lists)",
    "POST /open/option/order/batchCreate/v1": "needs the market-maker right",
    "POST /open/option/order/batchModify/v1": "needs the market-maker right",
    "POST /open/futures/countdown/cancel/v1": "needs the market-maker right; `type` 1 (options), others are refused; "
    "`countdownTime` 0 disarms",
    "GET /open/futures/countdown/cancel/get/v1": "needs the market-maker right",
    "POST /open/futures/countdown/cancel/heartbeat/v1": "needs the market-maker right",
    "POST /open/mmp/set-mmp-config/v1": "needs the right `mmp` or `market_maker`, else `not.allow`; "
    "`intervalTime` 0 removes",
    "GET /open/mmp/get-mmp-config/v1": "needs the right `mmp` or `market_maker`; null without a protection",
    "POST /open/mmp/reset-mmp/v1": "needs the right `mmp` or `market_maker`; `instType` OPTION only",
    f"POST {_BLOCK}/request/create/v1": "an option may stand in one leg only; ends 15 minutes before a leg expires",
    f"POST {_BLOCK}/request/cancel/v1": "JSON and form (`rfq_body`)",
    f"POST {_BLOCK}/request/accept/v1": "JSON and form (`rfq_body`); dealers and accounts with quote access quote",
    f"GET {_BLOCK}/request/getQuotesReceived/v1": "with `quoteSide`, which the documentation lacks",
    f"GET {_BLOCK}/rfqList/v1": "HTTP 404 without quote access (`rfq_list_without_access`); newest first",
    f"POST {_BLOCK}/quote/create/v1": "needs quote access; prices are rounded to the tick, `strategyPrice` is not",
    f"POST {_BLOCK}/quote/cancel/v1": "needs quote access; JSON and form (`rfq_body`)",
    f"POST {_BLOCK}/quote/cancel-all/v1": "needs quote access; form or JSON, empty",
    f"GET {_BLOCK}/list-quote/v1": "needs quote access; newest first",
    f"GET {_BLOCK}/orderList/v1": "`pageSize` counts trades, as the cursor does: a page has all legs of each",
    "POST /open/option/blockTrade/create/v1": "`marginMode` and the options' own data are not looked at; the code "
    "can be used once, for `exchange.rfq.code_life_ms`",
    "POST /open/option/blockTrade/accept/v1": "in the other role; the trade has neither request nor quote",
    "options blockTradeDetail 22": "on each block trade, to both sides",
    "options blockTradePublic 23": "on each block trade",
    "options rfqMaker 28": "on each change of others' requests, to accounts with quote access",
    "options rfqTaker 129": "on each change",
    "options rfqQuote 130": "on each change",
    "options quoteReceived 131": "on each change, with `quoteSide`",
    "options kline 2": "at most once a second, when the bar has changed",
    "options bsInfo 3": "once a second; numbers as text (`server.socket_numbers_as_text`)",
    "options tOption 4": "once a second; `oi` is 0, as at the venue",
    "options orderBook 5": "looked at every 100 ms, pushed when it has changed (`repeat_books`: always)",
    "options lastTrade 6": "each trade at the step in which it happens",
    "options lastTradeV2 24": "each trade at the step in which it happens",
    "options accountBalance 7": "on each change and once a second",
    "options position 12": "once a second, one frame per position",
    "options order 11": "on each event",
    "options trade 15": "on each fill",
    "options positionEvent 27": "on each change",
    "spot market.<SYM>.mbp.<N>": "the makers have 40 levels; a new follower gets the image that the others have",
    "spot market.<SYM>.kline.<interval>": "of the public tape",
    "spot market.<SYM>.overviewv2": "the fields at top level and, as the venue's page has it, under the symbol",
    "spot trade": "`tradeSide` is 1 or 2",
    "futures spotPrice 30": "each step of the market; figures of the day are looked at once a minute",
}

_INTRODUCTION = """# The simulated Coincall

How far the simulated exchange is the venue, made from the tables that it serves by. A test fails when this page is
out of date, when something `done` is not served or something served has no row; renew it with
`python -m services.exchange.server.conformance > docs/venues/coincall-sim.md`. Names of fields, wire types and
envelopes are held to payloads built from the venue's documentation (`tests/contract/recorded/`).

- `done`: served as documented, within the note beside it.
- `todo`: comes with a later feature, which the reason names.
- `exempt`: will not come, for the reason given.
"""

_MARKET = """## Where public trades come from

Beside the fills of accounts there is a public tape: trades of others with the market makers, at the best price of
the ladder in that step and at most its size. It is a pure function of seed, option and step, so every client sees
the same one, after every restart too, and an option nobody looks at costs nothing. K-lines, the last price, the
day's volume and its extremes are made of the tape and the accounts' trades. `[[exchange.bases]]` `tape` sets how
often options trade. The tape does not meet clients' orders: those trade with the makers' ladders and each other.
"""

_FUTURES_MARKET = """## Futures

Beside the perpetual there are dated futures for the next month end and the next two quarter ends
(`[exchange.bases.futures]`). The perpetual's premium over the index moves between values drawn for each full hour; a
dated future stands at the forward of its expiry. Funding is charged at 00:00, 08:00 and 16:00 UTC: quantity times
mark times rate, paid by longs when the rate is positive. Margin is shared with options: the margin balance is cash
and the futures' unrealised P&L; a position needs its value divided by the leverage, and maintenance by the venue's
tiers. Nothing is liquidated. The makers' ladders refill as those of options do, and the public tape prints a trade
every few seconds without taking anything from them.

Spot stands at the index, with makers' ladders and a tape of its own. A buy pays USDT, a sale coins, the fee comes out
of what is received. Coins count in the equity at the index and are no collateral; they are bought with cash, not with
the unrealised profit of futures. `initial_assets` of an account gives it coins at its first start.
"""

_DEALERS = """## Who answers requests for quote

Simulated dealers (`[[exchange.rfq.dealers]]`) answer after a few seconds with one quote per side, as much better or
worse than the order book as each of them is eager. They quote from the market makers' book alone; per leg the price
lies between book and mark, the same share of the way in each. When and what they quote is a pure function of seed,
request and dealer. While a request is open, a dealer renews a quote that has expired, and takes one back that the
index has left behind (`pull_move_pct`), to quote anew. Accounts with the right `rfq_quotes` are makers beside them. A
block trade is outside the order book: it moves neither last price nor k-lines, and takes nothing from the books.
"""

KEPT = ExchangeConfig()
_RETENTION = f"""## What is kept

In memory and in answers: all open orders, the last {KEPT.kept_orders:,} finished orders and {KEPT.kept_fills:,} fills
of each account (`exchange.kept_orders`, `kept_fills`), the public trades of options that are listed, all active
requests for quote, the last {KEPT.rfq.kept_requests:,} ended ones and as many block trades
(`exchange.rfq.kept_requests`). An order that is forgotten is unknown to every query, and its client order id is free
again. Histories answer for at most 90 days at once, as at the venue. The exchange's journal on disk keeps everything.
"""


def endpoint_rows() -> list[tuple[str, Status, str]]:
    """(method and path, status, note or reason) of every endpoint, the served ones first."""
    names = [f"{endpoint.method} {endpoint.path}" for endpoint in all_endpoints()]
    return _rows(names, MISSING_ENDPOINTS)


def channel_rows() -> list[tuple[str, Status, str]]:
    """(socket, name and code, status, note or reason) of every channel, the served ones first."""
    names = [f"{channel.socket} {channel.data_type} {channel.code}" for channel in CHANNELS]
    names += [f"spot {channel.data_type}" for channel in SPOT_CHANNELS]
    return _rows(names, MISSING_CHANNELS)


def _rows(served: Iterable[str], missing: Iterable[Missing]) -> list[tuple[str, Status, str]]:
    rows: list[tuple[str, Status, str]] = [(name, "done", NOTES.get(name, "")) for name in served]
    return rows + [(name, each.status, each.reason) for each in missing for name in each.names]


def switch_rows() -> dict[str, str]:
    """What each switch admits and its default, as text."""
    hints = get_type_hints(Switches)
    default = Switches()
    return {
        name: f"{_admitted(hints[name])}; default {_shown(getattr(default, name))}"
        for name in Switches.__struct_fields__
    }


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(int(value) if isinstance(value, int) else value)


def _admitted(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(_shown(value) for value in get_args(hint))
    if hint is bool:
        return "true, false"
    if isinstance(hint, type) and issubclass(hint, int) and hint is not int:
        return ", ".join(str(int(value)) for value in hint if value)  # type: ignore[attr-defined]
    return "a number"


def page() -> str:
    """The whole page as Markdown."""
    lines = [_INTRODUCTION, "## REST", "", "| endpoint | status | note |", "|---|---|---|"]
    lines += [f"| `{name}` | {status} | {note} |" for name, status, note in endpoint_rows()]
    lines += ["", "## WebSocket", ""]
    lines += ["Socket, `dataType` and `dt`; topics of the spot sockets.", ""]
    lines += ["| channel | status | note |", "|---|---|---|"]
    lines += [f"| `{name}` | {status} | {note} |" for name, status, note in channel_rows()]
    lines += ["", _MARKET, _FUTURES_MARKET, _DEALERS, _RETENTION, "## What the venue leaves open", ""]
    lines += [
        "Each question that the documentation leaves open and that something served here depends on is a switch in",
        "`[exchange.switches]`; the others come with their feature.",
        "",
        "| | question | switches |",
        "|---|---|---|",
    ]
    switches = switch_rows()
    for question in QUESTIONS:
        cells = [f"`{name}`: {switches[name]}" for name in question.switches]
        cells += [question.note] if question.note else []
        lines.append(f"| {question.number} | {question.text} | {'<br>'.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
