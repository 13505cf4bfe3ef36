"""What holds for every test: examples are not judged by time, and Ctrl-C reaches the processes under test."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# on a busy machine the time of an example says nothing about the code
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # tests that run in the background of a shell inherit this, and would pass it on to what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)
