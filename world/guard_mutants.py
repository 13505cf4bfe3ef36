"""Mistakes of the guard: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Edit, Mutant, in_execution


def _in_risk(name: str, what: str, *edits: tuple[str, str, str], scenario: str = "guarded") -> Mutant:
    return Mutant(name, what, tuple(Edit(f"services/risk/{file}", old, new) for file, old, new in edits), scenario)


GUARD_MUTANTS: tuple[Mutant, ...] = (
    _in_risk(
        "open_breaker_ignored",
        "an open breaker refuses no grant",
        ("breakers.py", '            if breaker.state == "open":\n', "            if False:\n"),
    ),
    _in_risk(
        "half_open_lets_all",
        "a half open breaker lets any number of trades through",
        ("breakers.py", "elif running_since(subject, breaker.since_ns):", "elif False:"),
    ),
    _in_risk(
        "margin_guard_grants",
        "the margin guard refuses no grant",
        ("core.py", "if (refusal := self._margin.refusal()) is not None:", "if False:"),
        ("core.py", "            yield refusal\n", "            pass\n"),
    ),
    _in_risk(
        "hysteresis_dropped",
        "the margin guard falls back to a lower level as soon as the figure is below the threshold",
        (
            "margin_guard.py",
            "threshold - self._config.margin_hysteresis_pct for",
            "threshold for",
        ),
    ),
    _in_risk(
        "transfers_are_profit",
        "deposits and withdrawals do not move the peak of equity",
        (
            "equity.py",
            "_moved(self.peak_usd, amount, before)",
            "self.peak_usd",
        ),
    ),
    _in_risk(
        "transfers_are_a_days_profit",
        "deposits and withdrawals do not move the equity that a day began with",
        (
            "equity.py",
            "_moved(self.day_start_usd, amount, before)",
            "self.day_start_usd",
        ),
    ),
    in_execution(
        "refusal_of_the_moment_is_final",
        "a refusal that speaks of the moment is told to be one for good",
        (
            "requests.py",
            "        if refusal is not None:\n",
            "        if refusal is not None:\n"
            "            told = intent_refused(intent.intent_id, refusal, work.now_ns, work.account_id)\n"
            '            work.publish("exec.{account}.intent", told)\n',
        ),
    ),
)
