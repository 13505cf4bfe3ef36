"""py_vollib_vectorized at work, in the environment of bench/peers.lock: its numpy is older, so nothing here is ours.

Started by bench/peers.py. Reads one line of JSON at a time: ["load", DIRECTORY] reads the options from .npy files,
["greeks"] and ["implied_vol"] work on all once and answer with the CPU seconds, ["save"] writes what came out.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from py_vollib_vectorized import get_all_greeks, vectorized_black, vectorized_implied_volatility_black

INPUTS = ("forward", "strike", "years", "vol", "is_call", "price")
GREEKS = ("delta", "gamma", "vega", "theta", "rho")
RATE = 0.0


class Peer:
    def load(self, directory: str) -> str:
        self.directory = Path(directory)
        self.of = {name: np.load(self.directory / f"{name}.npy") for name in INPUTS}
        self.flag = np.where(self.of["is_call"], "c", "p")
        self.found: dict[str, object] = {}
        return "loaded"

    def greeks(self) -> float:
        """Price and five Greeks."""
        of = self.of
        market = (self.flag, of["forward"], of["strike"], of["years"], RATE, of["vol"])
        begun = time.process_time()
        price = vectorized_black(*market, return_as="numpy")
        greeks = get_all_greeks(*market, model="black", return_as="dict")
        seconds = time.process_time() - begun
        self.found.update({"price": price, **{name: greeks[name] for name in GREEKS}})
        return seconds

    def implied_vol(self) -> float:
        of = self.of
        begun = time.process_time()
        vol = vectorized_implied_volatility_black(
            of["price"],
            of["forward"],
            of["strike"],
            RATE,
            of["years"],
            self.flag,
            on_error="ignore",
            return_as="numpy",
        )
        seconds = time.process_time() - begun
        self.found["implied_vol"] = vol
        return seconds

    def save(self) -> list[str]:
        for name, values in self.found.items():
            np.save(self.directory / f"peer_{name}.npy", np.asarray(values, dtype=np.float64).reshape(-1))
        return sorted(self.found)


def main() -> None:
    warnings.simplefilter("ignore")
    peer = Peer()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(getattr(peer, command)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
