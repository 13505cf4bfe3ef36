"""Orders, fills, positions and balances in the venue's field names and wire types, for REST and for the pushes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.exchange.model import (
    AccountSummary,
    AssetBalance,
    Exercise,
    Fill,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Position,
    Side,
    TradeEvent,
    Transfer,
)
from services.exchange.server.auth import Credential
from services.exchange.server.render_market import (
    GAMMA_DECIMALS,
    GREEK_DECIMALS,
    IV_DECIMALS,
    PRICE_DECIMALS,
    display_name,
    ms,
    rounded,
)
from services.exchange.server.wire import number_text
from services.exchange.switches import Switches

EIGHT = Decimal("0.00000001")
TIME_IN_FORCE_CODES = {"GTC": 0, "IOC": 2, "FOK": 3}
POST_ONLY_CODE = 1
POSITION_OPEN, POSITION_CLOSED = "1", "5"


def _order_fields(order: Order) -> dict[str, Any]:
    """What every REST form of an order has."""
    return {
        "orderId": order.order_id,
        "clientOrderId": order.client_order_id,
        "symbol": order.symbol,
        "displayName": display_name(order.symbol),
        "qty": order.quantity,
        "fillQty": order.filled,
        "price": order.price,
        "avgPrice": order.average_price,
        "tradeSide": int(order.side),
        "tradeType": int(order.order_type),
        "createTime": ms(order.created_ns),
        "reduceOnly": int(order.reduce_only),
    }


def pending_row(order: Order, initial_margin: Decimal, index_price: Decimal) -> dict[str, Any]:
    return {
        "id": order.order_id,
        **_order_fields(order),
        "remainQty": order.remaining,
        "initMargin": initial_margin,
        "indexPrice": index_price,
    }


def single_order_row(order: Order) -> dict[str, Any]:
    return {
        **_order_fields(order),
        "remainQty": order.remaining,
        "updateTime": ms(order.updated_ns),
        "fee": order.fee,
        "mmp": order.mmp,
        "state": int(order.state),
    }


def history_row(order: Order) -> dict[str, Any]:
    return {
        **_order_fields(order),
        "avgPrice": order.average_price or 0,
        "fee": order.fee,
        "rpnl": order.realised_pnl,
        "state": int(order.state),
        "mmp": order.mmp,
    }


def fill_row(fill: Fill) -> dict[str, Any]:
    return {
        "id": fill.fill_id,
        "optionId": fill.option_id,
        "symbol": fill.symbol,
        "displayName": display_name(fill.symbol),
        "tradeSide": int(fill.side),
        "tradeType": int(fill.order_type),
        "price": fill.price,
        "qty": fill.quantity,
        "iv": 0 if fill.iv is None else rounded(fill.iv, IV_DECIMALS),
        "markPrice": rounded(fill.mark_price, PRICE_DECIMALS),
        "indexPrice": fill.index_price,
        "orderId": fill.order_id,
        "tradeId": fill.trade_id,
        "fee": fill.fee,
        "time": ms(fill.at_ns),
        "reduceOnly": int(fill.reduce_only),
        "isTaker": int(fill.is_taker),
        "mmp": fill.mmp,
    }


def exercise_row(exercise: Exercise) -> dict[str, Any]:
    return {
        "symbol": exercise.symbol,
        "time": ms(exercise.at_ns),
        "qty": exercise.quantity,
        "tradeSide": int(exercise.side),
        "strike": exercise.strike,
        "exercisePrice": exercise.settlement_price,
        "openCashFlow": exercise.open_cash_flow,
        "settlementCashFlow": exercise.settlement_cash_flow,
        "netCashFlow": exercise.net_cash_flow,
        "fees": exercise.fee,
    }


def _ratio(profit: Decimal, value: Decimal) -> Decimal:
    return (profit / value).quantize(EIGHT) if value else Decimal(0)


def position_row(position: Position, user_id: int) -> dict[str, Any]:
    """`upnl` and `roi` by last price, the `...ByMarkPrice` fields by mark; both as ratios of the opening value."""
    value = position.average_price * position.quantity
    return {
        "id": position.position_id,
        "positionId": position.position_id,
        "orderId": position.position_id,
        "userId": user_id,
        "symbol": position.symbol,
        "displayName": display_name(position.symbol),
        "baseToken": position.symbol.partition("USD-")[0],
        "quoteToken": "USD",
        "tradeSide": int(position.side),
        "qty": position.quantity,
        "lockQty": position.locked,
        "avgPrice": position.average_price,
        "markPrice": rounded(position.mark_price, PRICE_DECIMALS),
        "indexPrice": position.index_price,
        "value": value,
        "upnl": position.unrealised_pnl_last,
        "roi": _ratio(position.unrealised_pnl_last, value),
        "rspl": position.realised_pnl,
        "initMargin": position.initial_margin,
        "maintMargin": position.maintenance_margin,
        "delta": rounded(position.delta, GREEK_DECIMALS),
        "gamma": rounded(position.gamma, GAMMA_DECIMALS),
        "vega": rounded(position.vega, GREEK_DECIMALS),
        "theta": rounded(position.theta, GREEK_DECIMALS),
        "rho": rounded(position.rho, GREEK_DECIMALS),
        "updateTime": ms(position.updated_ns),
        "lastPrice": position.last_price or 0,
        "upnlByMarkPrice": position.unrealised_pnl_mark,
        "roiByMarkPrice": _ratio(position.unrealised_pnl_mark, value),
    }


def summary_row(summary: AccountSummary, user_id: int) -> dict[str, Any]:
    """The account with USDT and its coins of spot; dollars and USDT are taken as equal."""
    account: dict[str, Any] = {
        "accountId": user_id,
        "coin": "USDT",
        "coinView": "USDT",
        "coinDesc": "Tether USD",
        "coinIconUrl": "",
        "equityAmount": number_text(summary.equity - summary.asset_value),
        "availableBalance": number_text(summary.available),
        "canWithdrawAmount": number_text(max(Decimal(0), summary.available)),
        "marginBalance": number_text(summary.margin_balance),
        "unrealizedAmount": number_text(summary.unrealised_pnl),
        "imAmount": number_text(summary.initial_margin),
        "mmAmount": number_text(summary.maintenance_margin),
        "cashBalanceAmount": summary.cash,
        "marginMode": 1,
        "btcValue": summary.btc_value,
        "dollarValue": summary.equity - summary.asset_value,
        "usdtValue": summary.equity - summary.asset_value,
        "decimal": 6,
        "delta": None,
        "chainType": None,
    }
    return {
        "userId": user_id,
        "totalBtcValue": summary.btc_value,
        "totalDollarValue": summary.equity,
        "totalUsdtValue": summary.equity,
        "equity": number_text(summary.equity),
        "marginBalance": number_text(summary.margin_balance),
        "availableMargin": number_text(summary.available),
        "imAmount": number_text(summary.initial_margin),
        "mmAmount": number_text(summary.maintenance_margin),
        "imRatio": _ratio_text(summary.initial_margin_ratio),
        "mmRatio": _ratio_text(summary.maintenance_margin_ratio),
        "unrealizedPnL": number_text(summary.unrealised_pnl),
        "accounts": [account, *(_asset_row(asset, user_id) for asset in summary.assets)],
    }


def _asset_row(asset: AssetBalance, user_id: int) -> dict[str, Any]:
    """A coin of spot: it is worth its index and is no collateral."""
    quantity, free = number_text(asset.quantity), number_text(asset.free)
    return {
        "accountId": user_id,
        "coin": asset.coin,
        "coinView": asset.coin,
        "coinDesc": asset.coin,
        "coinIconUrl": "",
        "equityAmount": quantity,
        "availableBalance": free,
        "canWithdrawAmount": free,
        "marginBalance": "0",
        "unrealizedAmount": "0",
        "imAmount": "0",
        "mmAmount": "0",
        "cashBalanceAmount": asset.quantity,
        "marginMode": 1,
        "btcValue": Decimal(0),
        "dollarValue": asset.value,
        "usdtValue": asset.value,
        "decimal": 8,
        "delta": None,
        "chainType": None,
    }


def _ratio_text(ratio: Decimal | None) -> str:
    """A ratio that is infinite, since nothing backs the margin, is shown as a large one."""
    return "9999" if ratio is None else number_text(ratio)


def user_info_row(credential: Credential) -> dict[str, Any]:
    name = credential.account_id
    return {"name": name, "email": f"{name}@paper.invalid", "userId": credential.user_id}


def key_info_row(credential: Credential) -> dict[str, Any]:
    return {
        "userId": credential.user_id,
        "apiKey": credential.api_key,
        "readOnly": int(credential.read_only),
        "isMaster": True,
        "parentUid": 0,
    }


def transfer_row(transfer: Transfer) -> dict[str, Any]:
    at = datetime.fromtimestamp(transfer.at_ns // 1_000_000_000, UTC)
    return {
        "transactionRecordId": transfer.transfer_id,
        "createTime": at.isoformat(),
        "side": "deposit" if transfer.amount >= 0 else "withdraw",
        "coin": "USDT",
        "amount": abs(transfer.amount),
        "serviceFee": 0,
        "address": "",
        "network": "PAPER",
        "addressUrl": "",
        "txId": None,
        "txIdUrl": "",
        "status": "Completed",
        "confirmingThreshold": None,
        "confirmedNum": None,
        "type": "internal",
    }


def order_push(event: OrderEvent, user_id: int, waiting_state: int = int(OrderState.WAITING)) -> dict[str, Any]:
    """Fields by state as in the venue's table; `fq` is what was filled in all, `rq` what remains. A stop order that
    waits has `waiting_state`."""
    order = event.order
    post_only = order.order_type is OrderType.POST_ONLY
    push: dict[str, Any] = {
        "oid": order.order_id,
        "coid": order.client_order_id or 0,
        "uid": str(user_id),
        "s": order.symbol,
        "q": number_text(order.quantity),
        "pr": number_text(order.price),
        "si": int(order.side),
        "ty": int(order.order_type),
        "ro": int(order.reduce_only),
        "os": waiting_state if order.state is OrderState.WAITING else int(order.state),
        "tif": POST_ONLY_CODE if post_only else TIME_IN_FORCE_CODES[order.time_in_force],
        "ct": ms(order.created_ns),
        "ts": ms(order.updated_ns),
    }
    if order.state in (OrderState.NEW, OrderState.WAITING):
        return push
    push["fq"] = number_text(order.filled)
    push["ap"] = number_text(order.average_price or Decimal(0))
    match order.state:
        case OrderState.FILLED | OrderState.PARTIALLY_FILLED:
            push["rq"] = number_text(order.remaining)
            if event.fill is not None:
                push["mpr"] = number_text(event.fill.price)
                push["mq"] = number_text(event.fill.quantity)
                push["it"] = int(event.fill.is_taker)
        case OrderState.CANCELLED | OrderState.CANCELLED_BY_EXERCISE:
            push["cq"] = number_text(order.remaining)
        case _:
            push["rq"] = number_text(order.remaining)
    return push


def trade_push(event: TradeEvent, switches: Switches) -> dict[str, str]:
    """Everything text; `feeRate` is negative when paid, as in the venue's sample, or as configured."""
    fill = event.fill
    return {
        "symbol": fill.symbol,
        "orderId": str(fill.order_id),
        "clientOrderId": str(fill.client_order_id or 0),
        "tradeId": str(fill.trade_id),
        "orderSide": str(int(fill.side)),
        "matchPrice": number_text(fill.price),
        "matchQty": number_text(fill.quantity),
        "matchValue": number_text(fill.price * fill.quantity),
        "remainQty": number_text(event.remaining),
        "isTaker": str(int(fill.is_taker)),
        "feeRate": number_text(-fill.fee_rate if switches.fee_rate_sign == "negative" else fill.fee_rate),
        "tradeTime": str(ms(fill.at_ns)),
    }


def position_push(position: Position, user_id: int, switches: Switches, *, expired: bool = False) -> dict[str, Any]:
    """`expired`: an expiry has ended it."""
    shown_open = bool(position.quantity) or (expired and switches.expired_position_state == "open")
    value = position.average_price * position.quantity
    return {
        "s": position.symbol,
        "uid": str(user_id),
        "si": str(int(position.side)),
        "q": number_text(position.quantity),
        "ap": number_text(position.average_price),
        "mp": rounded(position.mark_price, PRICE_DECIMALS),
        "os": POSITION_OPEN if shown_open else POSITION_CLOSED,
        "im": number_text(position.initial_margin),
        "mm": number_text(position.maintenance_margin),
        "tim": "",
        "tmm": "",
        "elp": 0 if switches.option_liquidation_price == "zero" else None,
        "upnl": number_text(position.unrealised_pnl_last),
        "pnlbmp": number_text(position.unrealised_pnl_mark),
        "roibmp": number_text(_ratio(position.unrealised_pnl_mark, value)),
        "delta": repr(rounded(position.delta, GREEK_DECIMALS)),
        "gamma": repr(rounded(position.gamma, GAMMA_DECIMALS)),
        "vega": repr(rounded(position.vega, GREEK_DECIMALS)),
        "theta": repr(rounded(position.theta, GREEK_DECIMALS)),
        "rho": repr(rounded(position.rho, GREEK_DECIMALS)),
    }


def balance_push(summary: AccountSummary, user_id: int) -> dict[str, Any]:
    return {
        "uid": user_id,
        "ab": summary.available,
        "e": summary.equity,
        "mb": summary.margin_balance,
        "im": summary.initial_margin,
        "mm": summary.maintenance_margin,
        "dv": summary.equity,
        "btcv": summary.btc_value,
        "wb": max(Decimal(0), summary.available),
        "upnl": summary.unrealised_pnl,
        "delta": repr(rounded(summary.delta, GREEK_DECIMALS)),
        "assets": [
            {"coin": "USDT", "availableBalance": summary.available},
            *({"coin": asset.coin, "availableBalance": asset.free} for asset in summary.assets),
        ],
    }


def signed_quantity(position: Position) -> Decimal:
    return position.quantity if position.side is Side.BUY else -position.quantity
