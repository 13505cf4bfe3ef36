"""Market-maker protection: set, get, reset. Its answers have forms of their own, as the venue's do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.exchange.mmp_state import SetProtection
from services.exchange.server.api import Call, Endpoint, Raw
from services.exchange.server.errors import PARAMETER_WRONG, UNKNOWN_INDEX, ApiError
from services.exchange.server.wire import encode

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
OPTION = "OPTION"


def set_config(call: Call) -> Any:
    fields = call.fields
    command = SetProtection(
        index=fields.need_text("indexName"),
        interval_ms=fields.need_integer("intervalTime"),
        frozen_ms=fields.need_integer("frozenTime"),
        quantity_limit=fields.decimal("qtyLimit"),
        delta_limit=fields.decimal("deltaLimit"),
    )
    call.venue.execute(lambda core, now_ns: core.mmp.set(call.account_id, command, now_ns))
    return True


def get_config(call: Call) -> Any:
    """The protection of an index; null without one, which the venue does not document."""
    index = call.fields.need_text("indexName")
    if not call.core.mmp.is_index(index):
        raise ApiError(UNKNOWN_INDEX)
    protection = call.core.mmp.protection(call.account_id, index)
    if protection is None:
        return None
    frozen = protection.is_frozen(call.now_ns)
    until_ns = protection.frozen_until_ns
    return {
        "id": protection.protection_id,
        "uid": call.signer.user_id,
        "indexName": index,
        "intervalTime": protection.interval_ms,
        "frozenTime": protection.frozen_ms,
        "qtyLimit": protection.quantity_limit,
        "deltaLimit": protection.delta_limit,
        "mmpFrozen": frozen,
        "mmpFrozenUntil": until_ns // NS_PER_MS if frozen and until_ns is not None else "",
        "ctime": _iso(protection.created_ns),
        "mtime": _iso(protection.modified_ns),
    }


def reset(call: Call) -> Any:
    """The one answer of the venue whose `code` is a text."""
    index = call.fields.need_text("indexName")
    if (call.fields.text("instType") or OPTION).upper() != OPTION:
        raise ApiError(PARAMETER_WRONG, "instType")
    call.venue.execute(lambda core, now_ns: core.mmp.reset(call.account_id, index, now_ns))
    return Raw(encode({"code": "0", "msg": "", "data": [{"result": True}]}))


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / NS_PER_S, UTC).isoformat(timespec="milliseconds")


def mmp_endpoints() -> list[Endpoint]:
    root = "/open/mmp"
    return [
        Endpoint("POST", f"{root}/set-mmp-config/v1", "mmp", "mmp", set_config),
        Endpoint("GET", f"{root}/get-mmp-config/v1", "mmp", "mmp", get_config),
        Endpoint("POST", f"{root}/reset-mmp/v1", "mmp", "mmp", reset),
    ]
