"""Compiled training of the tasks on which grokking is studied, and its records.

From a notebook, or any Python program::

    from experiments import load, sweep, train

    run = train("modular", filter="ema:alpha=0.98:lamb=2", weight_decay=0.005)
    run.metrics                      # a Polars table, a row an evaluation
    found = sweep("modular", filter=["none", "ema"], seeds=4, steps=2000)
    found.table                      # a row a lane; load("runs/…") reads a record

The settings are those of the command line, ``python -m experiments train modular
--help``, with underscores. Records are the same too: either goes on with the other's.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.notebook import Run as Run
    from experiments.notebook import Sweep as Sweep
    from experiments.notebook import load as load
    from experiments.notebook import sweep as sweep
    from experiments.notebook import train as train

__all__ = ["Run", "Sweep", "load", "sweep", "train"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: a verb that reads records needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from experiments import notebook

    return getattr(notebook, name)
