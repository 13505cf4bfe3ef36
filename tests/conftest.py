"""What holds for every test: the same examples for a commit, judged without a clock; Ctrl-C reaches what is run."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# on a busy machine the time of an example says nothing about the code
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# a run says something about the commit, so it draws the same examples each time; `make explore` looks for new ones
settings.register_profile("explore", untimed)
settings.register_profile("repeatable", untimed, derandomize=True, database=None)
settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # tests that run in the background of a shell inherit this, and would pass it on to what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)
