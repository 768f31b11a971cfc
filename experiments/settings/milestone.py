"""What a run is asked for: a milestone on a column of its metrics."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Milestone(NamedTuple):
    """The first evaluated step at which a column reaches a threshold.

    Attributes:
      name: in records and tables.
      column: of the metrics.
      threshold: to reach; with ``of_best``, as a part of the run's own best value.
      words: what the steps are called in tables, "steps to …".
      short: the same in a legend.
      marker: Matplotlib's, in pictures.
      lower_is_better: whether the column is to fall to the threshold.
      of_best: whether the threshold is relative to the run's own best value.
      instead_of: a milestone that is drawn instead of this one, if it was reached.
    """

    name: str
    column: str
    threshold: float
    words: str
    short: str
    marker: str
    lower_is_better: bool = False
    of_best: bool = False
    instead_of: str = ""


FIT_99 = Milestone(
    "t_fit_99",
    "train_accuracy",
    0.99,
    "steps to 99 % training accuracy",
    "train 99 %",
    "s",
)
GENERALISED_95 = Milestone(
    "t_gen_95",
    "validation_accuracy",
    0.95,
    "steps to 95 % validation accuracy",
    "validation 95 %",
    "^",
)
GENERALISED_99 = Milestone(
    "t_gen_99",
    "validation_accuracy",
    0.99,
    "steps to 99 % validation accuracy",
    "validation 99 %",
    "o",
)
GENERALISED_95_OF_BEST = Milestone(
    "t_gen_95_of_best",
    "validation_accuracy",
    0.95,
    "steps to 95 % of its best validation accuracy",
    "95 % of its best",
    "v",
    of_best=True,
    instead_of="t_gen_95",
)
OF_ACCURACY = (FIT_99, GENERALISED_95, GENERALISED_99, GENERALISED_95_OF_BEST)
"""The milestones of every task that has an accuracy."""


def generalised_95_of(published_accuracy: float) -> Milestone:
    """Where few examples keep 95 % out of reach: 95 % of a published final accuracy."""
    return Milestone(
        "t_gen_95_of_published",
        "validation_accuracy",
        0.95 * published_accuracy,
        "steps to 95 % of the published final accuracy",
        "95 % of published",
        "D",
        instead_of="t_gen_95",
    )


class TaskFacts(NamedTuple):
    """What a reader of a record must know of its task, without having the task.

    Attributes:
      published_accuracy: final validation accuracy of the published baseline.
      milestone: what runs are compared by.
      milestones: what runs are asked for.
    """

    published_accuracy: float | None
    milestone: str
    milestones: tuple[Milestone, ...]

    def asdict(self) -> dict[str, Any]:
        """For JSON."""
        milestones = [milestone._asdict() for milestone in self.milestones]
        return self._asdict() | {"milestones": milestones}

    @classmethod
    def of_record(cls, config: Mapping[str, Any]) -> "TaskFacts":
        """Those in a ``config.json``, or of its task where it was written without."""
        if "about_task" in config:
            about = dict(config["about_task"])
            milestones = [Milestone(**values) for values in about.pop("milestones")]
            return cls(**about, milestones=tuple(milestones))
        return _FIRST_FACTS.get(
            config["task"], cls(None, GENERALISED_99.name, OF_ACCURACY)
        )


# Until November 2026 they were not written.
_FIRST_FACTS = {
    "mnist": TaskFacts(
        0.898, "t_gen_95_of_published", (*OF_ACCURACY, generalised_95_of(0.898))
    ),
    "qm9": TaskFacts(None, "min_validation_loss", ()),
}
