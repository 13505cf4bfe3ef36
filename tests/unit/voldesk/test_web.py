"""voldesk web: users and tokens in the monitor's file, and a set-up link that only who asks for it is shown."""

from __future__ import annotations

import json

import pytest

from services.monitor.web.passwords import matches
from services.monitor.web.store import WebStore, store_path
from shared.config import load_config
from shared.ports import resolve_ports
from tests.unit.voldesk.peers import Ran

PASSWORD = "correct horse battery"


@pytest.fixture
def store(home: object) -> WebStore:
    desk = load_config()
    desk.run_dir.mkdir(parents=True)
    resolve_ports(desk.run_dir, desk.ports)
    return WebStore(store_path(desk.run_dir))


def test_without_a_user_a_link_is_shown_and_each_voids_the_one_before(store: WebStore) -> None:
    first, second = Ran("web"), Ran("web", "--json")
    link = json.loads(second.out)["setup_link"]
    assert "paper · account" in first.out
    assert link.startswith("http://127.0.0.1:")
    assert store.is_setup(link.rpartition("/")[2], 0)
    old = next(line for line in first.out.splitlines() if "/setup/" in line)
    assert not store.is_setup(old.rpartition("/")[2], 0)


def test_a_user_is_added_with_a_password_from_a_pipe_and_the_link_is_gone(store: WebStore) -> None:
    done = Ran("web", "add", "anna", "--role", "operator", "--json", answer=PASSWORD + "\n")
    assert json.loads(done.out) == {"name": "anna", "role": "operator", "changed": False}
    user = store.user("anna")
    assert user is not None
    assert matches(user.password, PASSWORD)
    assert PASSWORD not in done.out + done.err
    told = json.loads(Ran("web", "--json").out)
    assert (told["setup_link"], [each["name"] for each in told["users"]]) == (None, ["anna"])
    session = store.new_session("anna", 1)
    assert json.loads(Ran("web", "add", "anna", "--json", answer=PASSWORD + "\n").out)["changed"]
    assert store.session(session, 2) is None, "a new password ends the sessions"


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [("anna", "short", "at least 12"), ("-x", PASSWORD, "letters, digits"), ("a b", PASSWORD, "letters, digits")],
)
def test_what_is_no_name_or_a_weak_password_is_refused(store: WebStore, name: str, password: str, words: str) -> None:
    done = Ran("web", "add", "--role", "viewer", "--", name, answer=password + "\n")
    assert (done.code, words in done.err) == (2, True)
    assert store.users() == ()


def test_a_token_is_shown_once_and_kept_as_a_hash(store: WebStore) -> None:
    told = json.loads(Ran("web", "token", "watchdog", "--scope", "halt", "--json").out)
    assert told["scopes"] == ["read", "halt"]
    found = store.token(told["token"])
    assert found is not None
    assert found.name == "watchdog"
    assert told["token"] not in Ran("web").out
    again = Ran("web", "token", "watchdog")
    assert (again.code, "already" in again.err) == (2, True)
    assert Ran("web", "remove-token", "watchdog", "--yes").code == 0
    assert store.token(told["token"]) is None


def test_removing_asks_first_and_names_what_is_not_there(store: WebStore) -> None:
    store.put_user("anna", "viewer", "hash", 1)
    assert Ran("web", "remove", "anna", answer="n\n").code == 1
    assert store.user("anna") is not None
    assert Ran("web", "remove", "anna", answer="y\n").code == 0
    assert "there is no user" in Ran("web", "remove", "anna", "--yes").err
    assert "there is no token" in Ran("web", "remove-token", "x", "--yes").err


def test_before_the_first_start_it_says_how_to_start(home: object) -> None:
    done = Ran("web")
    assert (done.code, "voldesk up" in done.err) == (69, True)
