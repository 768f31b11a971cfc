"""``python -m experiments``."""

import os
import sys
import warnings

from experiments.records.status import Exit

# One line, for people; where in the code it was said is of no use to them.
warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"

try:
    from experiments.commands.cli import main

    code = main()
except KeyboardInterrupt:  # the imports take seconds
    code = Exit.INTERRUPTED
if code in (Exit.SYSTEM_ERROR, Exit.INTERRUPTED):
    # A computation, or the writer of a checkpoint, may be left half done. Python's
    # orderly end would take the memory from under it: a crash, or pages of tracebacks.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
