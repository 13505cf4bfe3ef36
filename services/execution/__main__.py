"""`python -m services.execution`: the service that alone places orders."""

from services.execution.shell import make_shell
from shared.service import run_service

if __name__ == "__main__":
    run_service("execution", make_shell)
