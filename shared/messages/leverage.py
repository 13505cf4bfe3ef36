"""The leverage of a perpetual or dated future on the account: what it is, and a person's wish to change it."""

from __future__ import annotations

import msgspec

from shared.messages.base import Message


class LeverageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Of one contract. leverage: as the venue said at `read_ns`, None where it could not be read, then `detail` says
    why. configured: what `[execution.leverage]` wants, None for nothing."""

    symbol: str
    leverage: int | None
    configured: int | None
    read_ns: int
    detail: str = ""


class GetLeverage(Message, frozen=True, kw_only=True, tag="get_leverage.1"):
    """Ask the venue, by execution, for the leverage of these contracts; of those that are configured when none is
    given."""

    symbols: tuple[str, ...] = ()


class LeverageList(Message, frozen=True, kw_only=True, tag="leverage_list.1"):
    account_id: str
    leverages: tuple[LeverageStatus, ...]


class ChangeLeverage(Message, frozen=True, kw_only=True, tag="change_leverage.1"):
    """Set the leverage of a contract in which the account has neither position nor orders. A repeated id sets it
    once."""

    symbol: str
    leverage: int
    requested_by: str


class LeverageChanged(Message, frozen=True, kw_only=True, tag="leverage_changed.1"):
    symbol: str
    leverage: int
