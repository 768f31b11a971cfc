"""Commands whose help shows options under headings."""

import click

from experiments.settings.presets import PRESETS


class GroupedOption(click.Option):
    """An option that knows under which heading ``--help`` shows it."""

    heading = "Options"


class GroupedCommand(click.Command):
    """A command whose ``--help`` shows options under their headings."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write one section per heading, in the order of the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                heading = getattr(param, "heading", "Options")
                sections.setdefault(heading, []).append(record)
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
        if presets := PRESETS.get(self.name or "", {}):
            with formatter.section("Presets"):
                formatter.write_dl([(n, p.__doc__ or "") for n, p in presets.items()])
