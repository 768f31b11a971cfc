"""Time everything; ``make bench``."""

import click

from benchmarks import (
    accumulation,
    first_chunk,
    glue,
    gpt,
    images,
    imdb,
    lanes,
    linesearch,
    recording,
    scaling,
    tasks,
    training_step,
    update_alone,
    ways,
)

_SECTIONS = (
    "step",
    "tasks",
    "imdb",
    "gpt",
    "cifar",
    "update",
    "accumulation",
    "recording",
    "first-chunk",
    "ways",
    "scaling",
    "comparison",
    "glue",
    "linesearch",
    "lanes",
)


@click.command()
@click.argument(
    "sections", nargs=-1, metavar="[SECTIONS]...", type=click.Choice(_SECTIONS)
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=7,
    show_default=True,
    help="Timings of each case.",
)
@click.option(
    "--precision",
    type=click.Choice(("float32", "tensorfloat32", "bfloat16")),
    default="float32",
    show_default=True,
    help="Of the training step's matrix products, on devices that have others.",
)
@click.option(
    "--most-lanes",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Where the section `lanes` ends.",
)
def main(
    sections: tuple[str, ...], rounds: int, precision: str, most_lanes: int
) -> None:
    """Time SECTIONS in turn and put their tables into benchmarks/RESULTS.md.

    \b
    step         training step, evaluation and a PyTorch twin   3 minutes
    tasks        steps of MNIST and QM9 and PyTorch twins       half a minute
    imdb         steps of IMDb and of a PyTorch twin            8 minutes
    gpt          steps of a small GPT and a PyTorch twin        1 minute
    cifar        steps of ResNet-18 and of a PyTorch twin       5 minutes
    update       filter and Adam alone, 1 M to 100 M params     6 minutes, 20 GiB
    accumulation filters inside optax.MultiSteps                half a minute
    recording    norms, measures and checkpoints                half a minute
    first-chunk  compilation, cold and cached                   2 minutes
    ways         lanes of a sweep, placed, batched, looped      2 minutes
    scaling      seconds and memory as runs grow                8 minutes
    comparison   published code and others, docs/comparison.md  half a minute
    glue         fine-tuning steps and a PyTorch twin           5 minutes
    linesearch   steps of line searches beside Adam's            10 minutes
    lanes        many seeds as one program (accelerators)       not by default
    """  # noqa: D301
    for section in sections or _SECTIONS[:-1]:
        if section == "step":
            training_step.main(rounds, precision)
        elif section == "tasks":
            tasks.main(rounds)
        elif section == "imdb":
            imdb.main(min(rounds, 3))
        elif section == "gpt":
            gpt.main(rounds)
        elif section == "cifar":
            images.main(min(rounds, 3))
        elif section == "update":
            update_alone.main(rounds)
        elif section == "accumulation":
            accumulation.main(rounds)
        elif section == "recording":
            recording.main(rounds)
        elif section == "first-chunk":
            first_chunk.main(rounds)
        elif section == "ways":
            ways.main(rounds)
        elif section == "scaling":
            scaling.main(min(rounds, 3))
        elif section == "comparison":
            from benchmarks import comparison  # needs PyTorch and pytorch_optimizer

            comparison.main(rounds)
        elif section == "glue":
            glue.main(rounds)
        elif section == "linesearch":
            linesearch.main(min(rounds, 5))
        else:
            lanes.main(rounds, precision, most_lanes)


if __name__ == "__main__":
    main()
