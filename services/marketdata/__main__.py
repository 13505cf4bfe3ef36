"""`python -m services.marketdata`: venue feeds in, normalised snapshots out."""

from services.marketdata.shell import MarketdataShell
from shared.service import run_service

if __name__ == "__main__":
    run_service("marketdata", MarketdataShell)
