"""What a recorded language model writes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.engine.generate import generate
from experiments.engine.programs import SingleRun
from experiments.engine.state import numerics_of
from experiments.methods.named import every_setting, in_effect
from experiments.records.checkpoint import Checkpoints, has_checkpoint
from experiments.records.provenance import tree_sha256
from experiments.records.run import RecordError, RunDirectory
from experiments.settings.files import Files
from experiments.tasks import TASKS
from experiments.tasks.gpt import GptTask


class PromptError(ValueError):
    """A prompt cannot be gone on with."""


class Sample(NamedTuple):
    """A text, and the step of the model that wrote it."""

    text: str
    step: int


def sample(
    run: RunDirectory,
    prompt: str,
    *,
    tokens: int,
    temperature: float,
    top_k: int,
    seed: int,
    files: Files = Files(),
) -> Sample:
    """The prompt, and how a run's newest checkpoint goes on with it.

    Args:
      run: of the task gpt.
      prompt: one token at least.
      tokens: how many to add.
      temperature: that logits are divided by, > 0.
      top_k: draw from so many tokens, the likeliest.
      seed: of the draws.
      files: where the data are: the tokens are those of the text.

    Raises:
      RecordError: the run is of another task or text, under way, or has no checkpoint.
      DataError: the text or the tokenizer cannot be had.
      PromptError: the prompt is empty, or has a character that the text has not.
    """
    record = run.config()
    if (name := record.pop("task")) != GptTask.name:
        raise RecordError(
            f"{run.path} is a run of the task {name}; only {GptTask.name} writes text."
        )
    if not has_checkpoint(run.path):
        raise RecordError(
            f"{run.path} has no checkpoint to sample from; finished lanes of a sweep "
            "keep none."
        )
    (settings,) = every_setting(TASKS[name], [in_effect(record)])
    config, task = settings.config, settings.config.task
    assert isinstance(task, GptTask)
    data = task.load(files)
    run.check_data(tree_sha256(data))
    encoding = task.encoding(task.read(files))
    try:
        begun = encoding.encode(prompt)
    except ValueError as error:
        raise PromptError(f"prompt: {error}") from None
    if len(begun) == 0:
        raise PromptError("prompt must have one token at least, got none.")
    with numerics_of(config), run.lock():
        program = SingleRun(config, data)
        checkpoints = Checkpoints(run.checkpoints)
        restored = checkpoints.restore(program.abstract_state)
        checkpoints.close()
        assert restored is not None
        step, _, state = restored
        text = generate(
            config.traced(),
            state.params,
            state.model_state,
            jnp.asarray(begun),
            jax.random.key(seed),
            temperature,
            window=task.block,
            count=tokens,
            choices=encoding.size,
            top_k=top_k,
        )
    return Sample(encoding.decode(jax.device_get(text)), step)
