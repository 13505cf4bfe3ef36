"""What the shell of risk reports to its core, beside the messages of the bus."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.venue import VenueAccount, VenuePosition


class AccountPolled(msgspec.Struct, frozen=True, kw_only=True):
    """Account and positions as the venue gave them. `asked_ns` is when the first of the two was asked for.

    clock_offset_ns: the venue's clock minus ours as it was measured last. transfers_problem: why nobody knows what
    was paid in or out since the read before, "" when that is known: equity cannot be compared with its peak then.
    """

    asked_ns: int
    received_ns: int
    account: VenueAccount
    positions: tuple[VenuePosition, ...]
    clock_offset_ns: int = 0
    transfers_problem: str = ""


class AccountPollFailed(msgspec.Struct, frozen=True):
    reason: str


class TransferSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit (> 0) or withdrawal (< 0) in USD; the same `transfer_id` may be reported again."""

    transfer_id: str
    amount_usd: Decimal
