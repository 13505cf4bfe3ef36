"""`python -m services.risk`: the guard of one account."""

from services.risk.shell import RiskShell
from shared.service import run_service

if __name__ == "__main__":
    run_service("risk", RiskShell)
