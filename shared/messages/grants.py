"""Signatures of grants: execution takes an envelope from whoever carries it, if risk signed it."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache

import msgspec

from shared.messages.trades import Grant

GRANT_TTL_MS, GRANT_TTL_MAX_MS = 420_000, 14_400_000
"""The defaults of [risk] grant_ttl_ms and grant_ttl_max_ms, of which the strategy hosts have to know too."""


def signed(grant: Grant, key: bytes) -> Grant:
    """The grant with its signature: hex HMAC-SHA256 over the msgpack of all other fields."""
    return msgspec.structs.replace(grant, signature=_signature(grant, key))


def signature_holds(grant: Grant, key: bytes) -> bool:
    """True when `grant` was signed with this key and not changed since."""
    return hmac.compare_digest(grant.signature, _signature(grant, key))


def _signature(grant: Grant, key: bytes) -> str:
    unsigned = msgspec.structs.replace(grant, signature="") if grant.signature else grant
    content = msgspec.msgpack.encode(unsigned)
    signing = _keyed(key).copy()
    signing.update(content)
    return signing.hexdigest()


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> hmac.HMAC:
    """What every signature with this key begins with."""
    return hmac.new(key, digestmod=hashlib.sha256)
