"""Time everything: ``make bench``. Tables go to ``benchmarks/RESULTS.md``."""

import click

from benchmarks import first_chunk, lanes, recording, training_step, update_alone

_SECTIONS = ("step", "update", "recording", "first-chunk", "lanes")


@click.command(help=__doc__)
@click.argument("sections", nargs=-1, type=click.Choice(_SECTIONS))
@click.option("--rounds", default=7, show_default=True, help="Timings of each case.")
@click.option(
    "--precision",
    type=click.Choice(("float32", "tensorfloat32", "bfloat16")),
    default="float32",
    show_default=True,
    help="Of the training step's matrix products, on devices that have others.",
)
@click.option(
    "--most-lanes",
    default=256,
    show_default=True,
    help="Where the section `lanes` ends.",
)
def main(
    sections: tuple[str, ...], rounds: int, precision: str, most_lanes: int
) -> None:
    """Run the sections asked for, all but `lanes` by default."""
    for section in sections or _SECTIONS[:-1]:
        if section == "step":
            training_step.main(rounds, precision)
        elif section == "update":
            update_alone.main(rounds)
        elif section == "recording":
            recording.main(rounds)
        elif section == "first-chunk":
            first_chunk.main(rounds)
        else:
            lanes.main(rounds, precision, most_lanes)


if __name__ == "__main__":
    main()
