"""``python -m experiments``."""

import os
import sys

INTERRUPTED = 130

try:
    from experiments.cli import main

    code = main()
except KeyboardInterrupt:  # the imports take seconds
    code = INTERRUPTED
if code in (1, INTERRUPTED):
    # A computation, or the writer of a checkpoint, may be left half done. Python's
    # orderly end would take the memory from under it: a crash, or pages of tracebacks.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
