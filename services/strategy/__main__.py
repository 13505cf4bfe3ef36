"""`python -m services.strategy`: a strategy host."""

from services.strategy.shell import StrategyShell
from shared.service import run_service

if __name__ == "__main__":
    run_service("strategy", StrategyShell)
