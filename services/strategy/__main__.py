"""`python -m services.strategy`: a strategy host; with `--group NAME`, that of a group."""

import argparse

from services.strategy.shell import StrategyShell
from shared.service import run_service
from shared.strategy_hosts import host_name

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.strategy", description="Run a strategy host.")
    parser.add_argument("--group", default="", help="the group whose strategies it runs; without, all others")
    run_service(host_name(parser.parse_args().group), StrategyShell)
