"""Two functions of scipy.special, in whole arrays: `ndtr`, the distribution function of the standard normal, and
`erfcx`, the scaled complementary error function exp(x**2) erfc(x).

They lie in one compiled module that needs nothing else. It is loaded by itself: the package around it would import
200 ms of what prices no option (array interfaces of other libraries, all of numpy's parts, orthogonal polynomials),
and how soon a desk works again after a crash is a matter of what its services import. Where a scipy keeps these
functions elsewhere they come from the package.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING

_COMPILED = "scipy.special._special_ufuncs"


def _compiled() -> ModuleType | None:
    """The compiled module, under its own name, where the package finds it too when somebody imports that later."""
    if _COMPILED in sys.modules:
        return sys.modules[_COMPILED]
    scipy = find_spec("scipy")
    folders = scipy.submodule_search_locations if scipy is not None else None
    spec = PathFinder.find_spec(_COMPILED, [f"{folder}/special" for folder in folders or ()])
    if spec is None or spec.loader is None:
        return None
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    sys.modules[_COMPILED] = module
    return module


if TYPE_CHECKING:
    from scipy.special import erfcx, ndtr
else:
    _found = _compiled()
    if hasattr(_found, "ndtr") and hasattr(_found, "erfcx"):
        ndtr, erfcx = _found.ndtr, _found.erfcx
    else:
        from scipy.special import erfcx, ndtr

__all__ = ["erfcx", "ndtr"]
