"""Coincall: options, futures, spot and their account."""

from shared.venues.coincall.check import KeyCheckFailed, check_key
from shared.venues.coincall.endpoints import BETA, PRODUCTION, CoincallEndpoints, of_venue, simulated
from shared.venues.coincall.every_product import EveryProduct
from shared.venues.coincall.gateway import CoincallGateway

__all__ = [
    "BETA",
    "PRODUCTION",
    "CoincallEndpoints",
    "CoincallGateway",
    "EveryProduct",
    "KeyCheckFailed",
    "check_key",
    "of_venue",
    "simulated",
]
