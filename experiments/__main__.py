"""``python -m experiments``."""

import os
import sys
import warnings

from experiments.commands.start import set_up_jax, what_is_missing
from experiments.records.status import Exit

# One line, for people; where in the code it was said is of no use to them.
warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"

# Pictures go to files. The backend of a notebook, which what it starts inherits, may
# not be installed here, and Matplotlib would refuse to be imported.
os.environ["MPLBACKEND"] = "agg"

try:
    from experiments.commands.cli import main

    set_up_jax()
    code = main()
except ModuleNotFoundError as error:
    print(what_is_missing(error), file=sys.stderr)
    code = Exit.SYSTEM_ERROR
except KeyboardInterrupt:  # the imports take seconds
    code = Exit.INTERRUPTED
if code in (Exit.SYSTEM_ERROR, Exit.INTERRUPTED):
    # A computation, or the writer of a checkpoint, may be left half done. Python's
    # orderly end would take the memory from under it: a crash, or pages of tracebacks.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
