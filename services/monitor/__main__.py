"""`python -m services.monitor`: health, alerts and the status page."""

from services.monitor.shell import MonitorShell
from shared.service import run_service

if __name__ == "__main__":
    run_service("monitor", MonitorShell)
