"""The keys that the live checks need, asked for before anything is tried."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from shared.config import DeskConfig
from shared.secrets import SecretError, load_api_key

SERVICES = ("execution", "risk", "marketdata")
EXIT_NO_KEYS = 78
"""As `voldesk` ends when a key must be put right first."""


def end_without_keys(desk: DeskConfig, environ: Mapping[str, str] = os.environ) -> None:
    """End the whole run, with one line that names the first key that is missing and where it belongs."""
    for service in SERVICES:
        try:
            load_api_key(desk, service, environ)
        except SecretError as missing:
            pytest.exit(f"make test-live tried nothing: {missing}", returncode=EXIT_NO_KEYS)
