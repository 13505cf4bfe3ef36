"""`python -m services.exchange`: the simulated exchange of a desk that trades on paper."""

from services.exchange.shell import ExchangeShell
from shared.service import run_service

if __name__ == "__main__":
    run_service("exchange", ExchangeShell)
