"""Coincall's structures as they come over the wire, tolerant of how it writes numbers and ids.

Numbers may be JSON numbers or strings, ids exceed 2^53 and may be strings, unknown fields are ignored. Money decodes
straight to Decimal from the digits on the wire.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec

Number = Decimal | None
Measure = float | None
Id = int | str | None
VenueId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Millis = Annotated[int, msgspec.Meta(ge=-(10**13), le=9 * 10**12)]
"""Beyond these a number fits neither a journal nor nanoseconds in 64 bits."""


class NotSent(msgspec.Struct, frozen=True):
    """Nothing left this host: trying again is safe."""

    reason: str


class Lost(msgspec.Struct, frozen=True):
    """The request left and no readable answer came: it may have taken effect."""

    reason: str


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer. `code` is None when the body is no envelope."""

    status: int
    code: int | None
    text: str
    data: bytes


class Envelope(msgspec.Struct, frozen=True):
    code: int
    msg: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class ServerTime(msgspec.Struct, frozen=True):
    serverTime: Millis


class ApiKeyInfo(msgspec.Struct, frozen=True):
    userId: int | str
    readOnly: int


class CoinAccount(msgspec.Struct, frozen=True):
    coin: str
    cashBalanceAmount: Number = None
    equityAmount: Number = None
    availableBalance: Number = None


class CoinName(msgspec.Struct, frozen=True):
    coin: str


class AccountSummary(msgspec.Struct, frozen=True):
    equity: Decimal
    availableMargin: Decimal
    imAmount: Decimal
    mmAmount: Decimal
    unrealizedPnL: Number = None
    accounts: msgspec.Raw = msgspec.Raw(b"null")


class OptionConfig(msgspec.Struct, frozen=True):
    limitMaxQty: Decimal


class PublicConfig(msgspec.Struct, frozen=True):
    optionConfig: dict[str, msgspec.Raw]


class OptionInstrument(msgspec.Struct, frozen=True):
    symbolName: str
    expirationTimestamp: Millis
    isActive: bool
    minQty: Decimal
    tickSize: Decimal


class SymbolName(msgspec.Struct, frozen=True):
    symbol: str


class FuturesSymbol(msgspec.Struct, frozen=True):
    symbol: str
    indexPrice: float
    markPrice: Measure = None


class ChainOption(msgspec.Struct, frozen=True):
    symbol: str
    markPrice: Measure = None
    bid: Measure = None
    ask: Measure = None
    bidSize: Measure = None
    askSize: Measure = None
    bidIv: Measure = None
    askIv: Measure = None
    markIv: Measure = None
    volume: Measure = None
    openInterest: Measure = None
    underlyingPrice: Measure = None
    delta: Measure = None
    gamma: Measure = None
    vega: Measure = None
    theta: Measure = None
    rho: Measure = None


class ChainStrike(msgspec.Struct, frozen=True):
    callOption: msgspec.Raw = msgspec.Raw(b"null")
    putOption: msgspec.Raw = msgspec.Raw(b"null")


class OptionPosition(msgspec.Struct, frozen=True):
    symbol: str
    tradeSide: int
    qty: Decimal
    avgPrice: Decimal
    markPrice: Measure = None
    upnlByMarkPrice: Measure = None
    delta: Measure = None


class OrderRow(msgspec.Struct, frozen=True):
    """Of open orders (no state), single query and history (no update time)."""

    orderId: VenueId
    symbol: str
    qty: Decimal
    tradeSide: int
    createTime: Millis
    price: Number = None
    clientOrderId: Id = None
    fillQty: Number = None
    avgPrice: Number = None
    state: int | None = None
    reduceOnly: int | None = None
    updateTime: Millis | None = None
    tradeType: int | None = None
    triggerPrice: Number = None


class FillRow(msgspec.Struct, frozen=True):
    tradeId: VenueId
    orderId: VenueId
    symbol: str
    tradeSide: int
    price: Decimal
    qty: Decimal
    time: Millis
    fee: Number = None
    isTaker: int | None = None
    clientOrderId: Id = None
    tradeType: int | None = None


class ExerciseRow(msgspec.Struct, frozen=True):
    symbol: str
    time: Millis
    qty: Decimal
    tradeSide: int
    exercisePrice: Decimal
    settlementCashFlow: Decimal
    fees: Number = None


class TransferRow(msgspec.Struct, frozen=True):
    transactionRecordId: int | str
    side: str
    coin: str
    amount: Decimal
    status: str


class PageNumbered(msgspec.Struct, frozen=True, rename={"rows": "list"}):
    rows: list[msgspec.Raw] | None = None
    pageTotal: int | None = None
    total: int | None = None


class PageByCursor(msgspec.Struct, frozen=True, rename={"rows": "list"}):
    rows: list[msgspec.Raw] | None = None
    hasNext: bool = False


class Frame(msgspec.Struct, frozen=True):
    """Any text frame of the option and futures sockets; `ping`: a question of the spot sockets, to be answered."""

    c: int | None = None
    rc: int | None = None
    dt: int | None = None
    ts: Millis | None = None
    d: msgspec.Raw = msgspec.Raw(b"null")
    action: str | None = None
    dataType: str | None = None
    result: str | None = None
    ping: msgspec.Raw = msgspec.Raw(b"null")


class OrderFrame(msgspec.Struct, frozen=True):
    oid: VenueId
    s: str
    q: Decimal
    si: int
    os: int
    ct: Millis
    ts: Millis
    pr: Number = None
    coid: Id = None
    ro: int | None = None
    fq: Number = None
    mq: Number = None
    ap: Number = None
    ty: int | None = None


class TradeFrame(msgspec.Struct, frozen=True):
    symbol: str
    orderId: VenueId
    tradeId: VenueId
    orderSide: int
    matchPrice: Decimal
    matchQty: Decimal
    tradeTime: Millis
    isTaker: int | None = None
    clientOrderId: Id = None


class ChainFrameRow(msgspec.Struct, frozen=True, rename={"ask_size": "as"}):
    s: str
    mp: Measure = None
    bid: Measure = None
    ask: Measure = None
    bs: Measure = None
    ask_size: Measure = None
    biv: Measure = None
    aiv: Measure = None
    miv: Measure = None
    delta: Measure = None
    gamma: Measure = None
    theta: Measure = None
    vega: Measure = None
    up: Measure = None
    v: Measure = None
    oi: Measure = None
    ts: Millis | None = None


class SpotPriceFrame(msgspec.Struct, frozen=True):
    s: str
    ip: float
    ts: Millis | None = None
    mp: Measure = None


class BookLevel(msgspec.Struct, frozen=True):
    price: float
    size: float


class BookRow(msgspec.Struct, frozen=True):
    """The order book by REST. The option's name is known from the request."""

    bids: list[BookLevel] | None = None
    asks: list[BookLevel] | None = None


class PushedLevel(msgspec.Struct, frozen=True):
    pr: float
    sz: float


class BookFrame(msgspec.Struct, frozen=True):
    s: str
    bids: list[PushedLevel] | None = None
    asks: list[PushedLevel] | None = None
    ts: Millis | None = None


class LastTradeRow(msgspec.Struct, frozen=True):
    symbol: str
    price: Decimal
    qty: Decimal
    time: Millis
    tradeSide: int


class LastTradeFrameRow(msgspec.Struct, frozen=True):
    s: str
    q: Decimal
    pr: Decimal
    sd: int
    ts: Millis


class KlineRow(msgspec.Struct, frozen=True):
    """Prices may be null for a period in which nothing traded."""

    time: Millis
    open: Measure = None
    high: Measure = None
    low: Measure = None
    close: Measure = None
    volume: Measure = None


class BatchRow(msgspec.Struct, frozen=True):
    """The result of one order of a batch: an envelope. `data`: the order's id."""

    code: int
    msg: str | None = None
    data: Id = None

    def answer(self) -> Answer:
        """As the answer to a call for this order alone."""
        return Answer(200, self.code, self.msg or "", b"null" if self.data is None else str(self.data).encode())

    def order_id(self) -> int | None:
        return parse_order_id(b"null" if self.data is None else str(self.data).encode())


class BatchCancelRow(msgspec.Struct, frozen=True):
    """The result of one cancel of a batch."""

    scode: int
    ordId: Id = None
    clOrdId: Id = None
    smsg: str | None = None

    def names(self, venue_order_id: int | None, client_order_id: int) -> bool:
        if venue_order_id is None:
            return str(self.clOrdId) == str(client_order_id)
        return str(self.ordId) == str(venue_order_id)


T = TypeVar("T")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(kind: type[T], data: bytes | msgspec.Raw) -> T:
    """Decode leniently. Raises msgspec.DecodeError (ValidationError included) naming the field."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind, strict=False)
    try:
        decoded: T = decoder.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    return decoded


def parse_answer(status: int, body: bytes) -> Answer:
    """Read the envelope; a body that is none gives an answer without a code."""
    try:
        envelope = decode(Envelope, body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Answer(status, None, "", b"")
    return Answer(status, envelope.code, envelope.msg or "", bytes(envelope.data))


def parse_order_id(data: bytes) -> int | None:
    """The order id that creating and amending answer with, a number or a text; None for anything else."""
    try:
        number = decode(VenueId, data)
    except msgspec.DecodeError:
        return None
    return number or None
