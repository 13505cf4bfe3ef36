"""Reads the account so that no deposit or withdrawal can be taken for a gain or a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from services.risk.inputs import AccountPolled, AccountPollFailed, TransferSeen
from shared.clock import Clock
from shared.messages.venue import VenueTransfer
from shared.venues.ports import AccountGateway, VenueError

_LOOKBACK_NS = 7 * 86_400 * 1_000_000_000
"""A transfer is found by when it was begun, and counts when it is completed: at most so much later."""

_USD_COINS = frozenset({"USD", "USDT", "USDC"})
"""Coins that count as 1 USD."""


class AccountReader:
    """An account is passed on only if the transfers listed after it are those that were listed before it: it holds
    just these, and equity can be compared with a peak that has moved with them. Otherwise only the transfers are,
    and the caller reads again. Where transfers cannot be listed the account is passed on with that problem: its
    margin must be watched all the same."""

    def __init__(self, gateway: AccountGateway, clock: Clock, log: Any) -> None:
        self._gateway = gateway
        self._clock = clock
        self._log = log
        self._known: frozenset[str] | None = None
        self._warned: frozenset[str] = frozenset()

    async def read(
        self, journaled_until_ns: int | None, noted: frozenset[str]
    ) -> Sequence[TransferSeen | AccountPolled | AccountPollFailed]:
        """Inputs of the core, in their order: transfers, repeated for as long as they are listed, and the account.

        `journaled_until_ns`: what the core has noted up to; transfers from before it may be missing in the first
        list, those after it may not. `noted`: the transfers that it has noted. To a process that was started again
        they stand for the list before its first read, which the venue's rate limit would have it wait a second for:
        they were listed before, so the account holds them, and any other shows in the list after it.
        """
        problem = ""
        listed: tuple[VenueTransfer, ...] = ()
        try:
            if self._known is None:
                is_new = journaled_until_ns is None
                self._known = _ids(await self._transfers(journaled_until_ns)) if is_new else noted
        except VenueError as error:
            problem = f"{error.kind}: {error}"
        try:
            asked_ns = self._clock.now_ns()
            account, positions = await asyncio.gather(self._gateway.account(), self._gateway.positions())
            received_ns = self._clock.now_ns()
        except VenueError as error:
            return (AccountPollFailed(f"{error.kind}: {error}"),)
        try:
            listed = listed if problem else await self._transfers(journaled_until_ns)
        except VenueError as error:
            problem = f"{error.kind}: {error}"
        seen = self._in_usd(listed)
        if not problem:
            known, self._known = self._known or frozenset(), _ids(listed)
            if not self._known <= known:
                return seen
        polled = AccountPolled(
            transfers_problem=problem,
            asked_ns=asked_ns,
            received_ns=received_ns,
            account=account,
            positions=positions,
            clock_offset_ns=self._gateway.clock_offset_ns,
        )
        return (*seen, polled)

    async def _transfers(self, journaled_until_ns: int | None) -> tuple[VenueTransfer, ...]:
        now_ns = self._clock.now_ns()
        known_until_ns = now_ns if journaled_until_ns is None else min(now_ns, journaled_until_ns)
        return await self._gateway.transfers(known_until_ns - _LOOKBACK_NS)

    def _in_usd(self, listed: tuple[VenueTransfer, ...]) -> tuple[TransferSeen, ...]:
        other = [row for row in listed if row.coin not in _USD_COINS]
        for row in other:
            if row.transfer_id not in self._warned:
                self._log.warning(
                    "a transfer in another coin than USD counts as gain or loss",
                    transfer_id=row.transfer_id,
                    coin=row.coin,
                    amount=str(row.amount),
                )
        self._warned = frozenset(row.transfer_id for row in other)
        return tuple(
            TransferSeen(transfer_id=row.transfer_id, amount_usd=row.amount)
            for row in listed
            if row.coin in _USD_COINS
        )


def _ids(listed: tuple[VenueTransfer, ...]) -> frozenset[str]:
    return frozenset(row.transfer_id for row in listed)
