"""What is on the wire today must be readable tomorrow: the schema of every message is in `message_schemas.json`.

Adding an optional field is allowed; anything else that changes a message needs a new schema id. After an allowed
change, renew the file: ``python -m tests.unit.shared.test_messages``.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.bus import frames
from shared.messages.base import Message, opposite, schema_id
from shared.messages.grants import signature_holds, signed
from shared.messages.trades import Grant, GrantLeg

FILE = Path(__file__).with_name("message_schemas.json")


def all_messages(base: type[Message] = Message) -> list[type[Message]]:
    found = [kind for child in base.__subclasses__() for kind in (child, *all_messages(child))]
    return sorted((kind for kind in found if kind.__module__.startswith("shared.messages.")), key=schema_id)


def current_schemas() -> dict[str, Any]:
    """Every message by its schema id, and the structs inside them by name."""
    kinds = all_messages()
    _, components = msgspec.json.schema_components(kinds)
    by_id = {kind.__name__: schema_id(kind) for kind in kinds}
    schemas = {by_id.get(name, name): _without_texts(schema) for name, schema in components.items()}
    plain: dict[str, Any] = json.loads(json.dumps(dict(sorted(schemas.items()))))
    return plain


def breaks_readers(old: Any, new: Any) -> list[str]:
    """Why a message of the old form could not be read today, or one of today not by an old reader."""
    if old.get("type") == "object" and new.get("type") == "object" and "properties" in old:
        before, after = old["properties"], new["properties"]
        problems = [f"{name} was removed" for name in before if name not in after]
        problems += [
            f"{name} has another type" for name in before if name in after and not _holds(after[name], before[name])
        ]
        problems += [f"{name} is required" for name in new.get("required", []) if name not in old.get("required", [])]
        problems += [
            f"{name} is no longer sent" for name in old.get("required", []) if name not in new.get("required", [])
        ]
        return problems
    if old.get("type") == "array" and new.get("type") == "array" and "prefixItems" in old:
        before, after = old["prefixItems"], new["prefixItems"]
        problems = ["its fields changed type, order or number"] if after[: len(before)] != before else []
        return problems + (["a new field is required"] if old.get("minItems") != new.get("minItems") else [])
    return [] if old == new else ["it changed"]


def _holds(after: Any, before: Any) -> bool:
    """Whether a field is as before, or it, or an item of its list, may be of further kinds: whoever does not know a
    kind that is used refuses that message alone, and all of before can be read."""
    if after == before:
        return True
    kinds_before, kinds_after = (
        field.get("items", field).get("discriminator", {}).get("mapping", {}) for field in (before, after)
    )
    return bool(kinds_before) and kinds_before.items() <= kinds_after.items()


def _without_texts(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_texts(value) for key, value in schema.items() if key not in ("description", "title")}
    return [_without_texts(part) for part in schema] if isinstance(schema, list) else schema


def grant(**changes: Any) -> Grant:
    leg = GrantLeg(symbol="BTCUSD-X", side="buy", max_quantity=Decimal("0.1"), worst_price=Decimal("12.5"))
    base = Grant(
        grant_id="g1",
        intent_id="s-1",
        account_id="main",
        legs=(leg,),
        deadline_ns=5,
        halt_epoch=0,
        issued_ns=1,
        margin_usd=10.0,
        max_loss_usd=None,
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize("name", sorted(json.loads(FILE.read_text())) if FILE.exists() else [])
def test_a_committed_message_can_still_be_read_and_be_read_by_old_readers(name: str) -> None:
    committed = json.loads(FILE.read_text())[name]
    current = current_schemas().get(name)
    assert current is not None, f"{name} is gone; keep its class as long as anybody may send or replay it"
    assert breaks_readers(committed, current) == [], f"give {name} a new schema id"


def test_the_committed_schemas_are_those_of_today() -> None:
    assert json.loads(FILE.read_text()) == current_schemas(), (
        "after an allowed change run: python -m tests.unit.shared.test_messages"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"properties": {"a": {"type": "string"}}}, "b was removed"),
        ({"properties": {"a": {"type": "integer"}, "b": {}}}, "a has another type"),
        ({"properties": {"a": {"type": "string"}, "b": {}, "c": {}}, "required": ["a", "c"]}, "c is required"),
        ({"properties": {"a": {"type": "string"}, "b": {}}, "required": []}, "a is no longer sent"),
    ],
)
def test_a_breaking_change_is_named(change: dict[str, Any], problem: str) -> None:
    old = {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}
    assert problem in breaks_readers(old, {**old, **change})
    assert breaks_readers(old, {**old, "properties": {**old["properties"], "new": {}}}) == []  # type: ignore[dict-item]


@pytest.mark.parametrize("kind", all_messages(), ids=schema_id)
def test_every_message_names_its_schema_with_a_version(kind: type[Message]) -> None:
    name, _, version = schema_id(kind).rpartition(".")
    assert name
    assert version.isdigit()
    assert schema_id(kind) in frames.schema_ids()


def test_a_message_stands_for_itself_unless_it_names_an_entity() -> None:
    class Plain(Message, frozen=True, kw_only=True, tag="plain_for_a_test.1"):
        pass

    assert Plain().key == ""


def test_the_opposite_of_a_side() -> None:
    assert (opposite("buy"), opposite("sell")) == ("sell", "buy")


@pytest.mark.parametrize(
    "change",
    [{"margin_usd": 11.0}, {"legs": ()}, {"deadline_ns": 6}, {"halt_epoch": 1}, {"account_id": "other"}],
)
def test_a_grant_that_was_changed_after_signing_does_not_hold(change: dict[str, Any]) -> None:
    valid = signed(grant(), b"key")
    assert signature_holds(valid, b"key")
    assert not signature_holds(msgspec.structs.replace(valid, **change), b"key")
    assert not signature_holds(valid, b"another key")
    assert not signature_holds(grant(), b"key")


if __name__ == "__main__":
    FILE.write_text(json.dumps(current_schemas(), indent=1) + "\n")
