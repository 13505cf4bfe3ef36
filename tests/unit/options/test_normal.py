"""The functions of the normal distribution are scipy's own, without what scipy brings along."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import scipy.special

from shared.options import normal

BROUGHT_ALONG = ("scipy.special", "scipy.linalg", "numpy.f2py", "numpy.ma")


def imported_by(statement: str) -> set[str]:
    """The modules of BROUGHT_ALONG that a process of its own has imported after the statement."""
    code = f"{statement}; import sys; print(*[name for name in {BROUGHT_ALONG!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_they_are_the_same_objects_as_those_of_the_package() -> None:
    assert normal.ndtr is scipy.special.ndtr
    assert normal.erfcx is scipy.special.erfcx


def test_they_give_what_is_known_of_them() -> None:
    x = np.array([-np.inf, -8.0, 0.0, 1.959963984540054, np.inf, np.nan])
    expected = [0.0, 6.220960574271784e-16, 0.5, 0.975, 1.0, np.nan]
    np.testing.assert_allclose(normal.ndtr(x), expected, rtol=1e-13)
    np.testing.assert_allclose(normal.erfcx([0.0, 1.0, 1e3]), [1.0, 0.427583576155807, 5.641893014533e-4], rtol=1e-12)


def test_the_package_still_works_when_it_is_imported_afterwards() -> None:
    code = "from shared.options.normal import ndtr; from scipy import special; assert special.ndtr is ndtr"
    assert "scipy.special" in imported_by(f"{code}; assert special.ndtri(0.5) == 0.0 and special.expi(1.0) > 0")


def test_implied_volatilities_need_nothing_of_what_the_package_brings_along() -> None:
    assert imported_by("import shared.options.implied_vol") == set()
