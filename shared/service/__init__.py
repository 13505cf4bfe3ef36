"""The shell every service runs in."""

from shared.errors import StartRefused
from shared.service.context import ServiceContext
from shared.service.host import CoreHost
from shared.service.observing import Observer
from shared.service.run import Shell, run_service

__all__ = ["CoreHost", "Observer", "ServiceContext", "Shell", "StartRefused", "run_service"]
