from __future__ import annotations

from decimal import Decimal

from shared.messages.account import AccountSnapshot, Position, PositionGreeks
from shared.messages.control import Gate, StrategyStatus, TradeExits
from shared.messages.trades import Grant, LegStatus, OrderUpdate, StoryLine, TradeStory, TradeUpdate

OPENED_NS = 1_795_185_474_114_000_000
CALL, PUT = "BTCUSD-27NOV26-106000-C", "BTCUSD-27NOV26-96000-P"

GRANT = Grant(
    grant_id="g1",
    intent_id="demo-1",
    account_id="acc1",
    legs=(),
    deadline_ns=0,
    halt_epoch=0,
    issued_ns=0,
    margin_usd=0.0,
    max_loss_usd=None,
)

TRADE = TradeUpdate(
    trade_id="t59495869",
    account_id="acc1",
    strategy="demo_strangle",
    ordinal=1,
    intent_id="demo-1",
    state="OPEN",
    reason="all legs are filled",
    legs=(
        LegStatus(
            symbol=CALL,
            side="buy",
            quantity=Decimal("0.10"),
            filled_quantity=Decimal("1E-1"),
            closed_quantity=Decimal(0),
            open_price=Decimal("1122.8"),
            close_price=None,
        ),
        LegStatus(
            symbol=PUT,
            side="sell",
            quantity=Decimal("0.10"),
            filled_quantity=Decimal("0.10"),
            closed_quantity=Decimal("0.05"),
            open_price=Decimal("1444.9"),
            close_price=Decimal("1.5E+3"),
        ),
    ),
    execution_mode="limit",
    policy="atomic",
    exit_conditions=(),
    hard_deadline_ns=None,
    created_ns=OPENED_NS - 5,
    opened_ns=OPENED_NS,
    closed_ns=None,
    updated_ns=OPENED_NS,
    realized_pnl_usd=Decimal("-3.4E+1"),
    fees_usd=Decimal("6.003015"),
    entry_premium_usd=Decimal("-32.21"),
    grant=GRANT,
    grant_open=False,
    if_broken="hold",
)

ORDER = OrderUpdate(
    client_order_id=7496366351638855681,
    venue_order_id=2123787925228355584,
    account_id="acc1",
    trade_id="t59495869",
    leg_index=0,
    purpose="open",
    attempt=1,
    symbol=CALL,
    side="buy",
    quantity=Decimal("0.1"),
    price=Decimal("1149.7"),
    filled_quantity=Decimal("0.1"),
    average_price=Decimal("1122.8"),
    state="FILLED",
    reason="filled at the venue",
    reduce_only=False,
    created_ns=OPENED_NS - 3,
    updated_ns=OPENED_NS,
)

STORY = TradeStory(
    trade=TRADE,
    orders=(ORDER,),
    lines=(
        StoryLine(OPENED_NS, "trade_requested", "intent demo-1 accepted", "m1"),
        StoryLine(OPENED_NS, "order_moved", f"order {ORDER.client_order_id} WORKING: acknowledged", ""),
        StoryLine(OPENED_NS + 1_000_000, "trade_moved", "OPEN: all legs are filled", ""),
    ),
)

ACCOUNT = AccountSnapshot(
    account_id="acc1",
    received_ns=OPENED_NS,
    equity_usd=Decimal("99975.99"),
    available_margin_usd=Decimal("99737.23"),
    initial_margin_usd=Decimal("1E+3"),
    maintenance_margin_usd=Decimal(500),
    unrealized_pnl_usd=Decimal("-18.01"),
    positions=(
        Position(
            symbol=CALL,
            underlying="BTCUSD",
            quantity=Decimal("-0.1"),
            average_price=Decimal("1122.8"),
            mark=1022.44,
            unrealized_pnl_usd=10.04,
            greeks=PositionGreeks(delta=-0.0248, theta=16.89),
        ),
        Position(
            symbol=PUT,
            underlying="BTCUSD",
            quantity=Decimal("0.1"),
            average_price=Decimal("1444.9"),
            mark=None,
            unrealized_pnl_usd=None,
            greeks=None,
        ),
    ),
    greeks={"BTCUSD": PositionGreeks(delta=-0.0248)},
    greeks_complete=False,
    peak_equity_usd=Decimal(100_000),
    balances={"USDT": Decimal("87475.99"), "BTC": Decimal("0.125")},
)

STRATEGY = StrategyStatus(
    strategy="demo_strangle",
    state="running",
    reason="",
    gates=(
        Gate(name="state", open=True, reason="running", since_ns=OPENED_NS),
        Gate(name="cooldown", open=False, reason="12 s of 15 s", since_ns=OPENED_NS),
    ),
    trades_today=3,
    open_trades=1,
    next_ordinal=4,
    last_closed_ns=None,
    signals_generated=4,
    signals_executed=3,
    updated_ns=OPENED_NS,
    exits=(
        TradeExits(
            trade_id="t59495869",
            state="OPEN",
            closing="",
            conditions=(Gate(name="max_hold", open=False, reason="open for 1.0 h of 5.0 h", since_ns=OPENED_NS),),
            hard_deadline_ns=OPENED_NS + 18_000_000_000_000,
        ),
    ),
)
