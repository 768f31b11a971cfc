"""Metrics as TensorBoard event files, from the record of a run."""

import importlib.util
import shutil

from experiments.records.run import RecordError, RunDirectory


def check_tensorboard() -> None:
    """Check, before training, that the optional package is there.

    Raises:
      RecordError: tensorboardX is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise RecordError("--tensorboard needs: pip install tensorboardX.")


def write_tensorboard(run: RunDirectory) -> None:
    """Write every recorded metric to ``tensorboard/`` in the run's directory.

    From the record, not along with it: what is there is replaced, and resumed runs
    need no care.
    """
    from tensorboardX import SummaryWriter  # optional, see check_tensorboard

    directory = run.path / "tensorboard"
    shutil.rmtree(directory, ignore_errors=True)
    metrics = run.metrics()
    steps = metrics.pop("step")
    with SummaryWriter(str(directory)) as writer:
        for name, values in metrics.items():
            for step, value in zip(steps, values, strict=True):
                writer.add_scalar(name, float(value), int(step))
