"""What every message has in common. Frozen, typed, validated on decode; changed only by addition."""

from __future__ import annotations

from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
"""Our word for a direction; the venue's 1 / 2 stays inside its package."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", omit_defaults=True):
    """A fact or a request on the bus.

    Each subclass names its schema in ``tag`` ("trade.1"). A change that an old reader cannot take needs a new
    number. Times are ``*_ns`` (UTC, integer nanoseconds); decimals travel as plain text.
    """

    @property
    def key(self) -> str:
        """The entity that this message is the newest state of; "" if every message stands for itself.

        An event topic keeps the newest message per key, which is what a late joiner is given.
        """
        return ""


def schema_id(kind: type[Message]) -> str:
    """The schema id ("trade.1") under which messages of this class travel."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str), f"{kind.__name__} has no schema tag"
    return tag


def opposite(side: Side) -> Side:
    """The direction that undoes ``side``."""
    return "sell" if side == "buy" else "buy"
