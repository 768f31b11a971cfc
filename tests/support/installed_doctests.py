"""The doctests of the installed grokfast_jax, without pytest or anything of ours.

    cd SOMEWHERE_ELSE && python -I …/installed_doctests.py

``-I`` keeps the working directory and this one off the path of imports.
"""

import doctest
import importlib
import pkgutil
import sys
from pathlib import Path

import grokfast_jax


def main() -> int | str:
    """Run them all; what `sys.exit` takes."""
    place = Path(grokfast_jax.__file__).parent
    if not place.is_relative_to(sys.prefix):
        return f"not the installed one: {place}"
    found = pkgutil.iter_modules([str(place)], "grokfast_jax.")
    names = ["grokfast_jax", *(module.name for module in found)]
    results = [doctest.testmod(importlib.import_module(name)) for name in names]
    failed = sum(result.failed for result in results)
    attempted = sum(result.attempted for result in results)
    print(f"{attempted} examples in {len(names)} modules, {failed} failed")
    return int(failed > 0 or attempted == 0)


if __name__ == "__main__":
    sys.exit(main())
