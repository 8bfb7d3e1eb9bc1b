"""The ``lmc`` command line. Imports torch only in the commands that need it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lmc.commands import diagnose, forecast, merge, results, store
from lmc.commands.cli_options import with_settings
from lmc.console import accept_any_console
from lmc.errors import LmcError
from lmc.executing.settings import Settings

app = typer.Typer(
    help="Can independently trained networks be merged by averaging their weights? Judge the claims.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
    pretty_exceptions_enable=False,
)

SELECTION = ("tier", "extra-claims", "claims", "setting", "role", "arch", "dataset", "max-width", "precision")
"""What of the claims and of the tier is meant."""


@app.command()
@with_settings(*SELECTION, "store", "data", "device", "workers", "executor", "ray-address", "results", "baseline")
def run(
    settings: Settings,
    pilot: Annotated[bool, typer.Option(help="Train the pilot seeds that thresholds are chosen on.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Print a line for each paper item, for an issue.")] = False,
) -> None:
    """Judge the claims of a tier, training and measuring what is missing.

    Exits with 1 where the run is red: a failure beyond chance that nothing explains, an invalid case, more inconclusive
    cases than an earlier run predicts, or a change for the worse from the baseline that is beyond chance.
    """
    from lmc.commands.baseline import read_baseline
    from lmc.commands.finish import finish
    from lmc.executing.session import judged, make_missing, selected_cases
    from lmc.reporting.verification import verification

    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    selected = selected_cases(settings, pilot=pilot)
    compared = read_baseline(settings.baseline, settings.tier, selected) if settings.baseline else None
    made = make_missing(selected, settings)
    found = judged(selected, made)
    seconds = time.monotonic() - clock
    finished = finish(found, made, settings, baseline=compared, started=started, seconds=seconds, pilot=pilot)
    for line in verification(finished.document) if verify else finished.lines():
        typer.echo(line)
    if finished.red:
        raise typer.Exit(1)


@app.command("claims")
@with_settings("extra-claims", device="cpu")
def list_claims(settings: Settings) -> None:
    """List the claims with their references."""
    from lmc.claims.own import all_claims
    from lmc.results.wording import asked_in_words

    for claim in all_claims(settings.extra_claims):
        typer.echo(f"{claim.id}\n    {claim.ref}: {claim.statement}\n    {asked_in_words(claim.expect.asked)}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The results file to compare with.")],
    new: Annotated[Path, typer.Argument(help="The results file in question.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    tolerance: Annotated[float, typer.Option(help="Share by which run time may differ.")] = 0.25,
) -> None:
    """What changed between two runs: verdicts, effects, run time. Exits with 1 where something got worse."""
    import json

    from lmc.results.comparing import difference_between
    from lmc.results.file import read_results

    found = difference_between(read_results(old), read_results(new), tolerance=tolerance)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        for line in found.lines():
            typer.echo(line)
    if found.worse:
        raise typer.Exit(1)


@app.command()
def summary(results: Annotated[Path, typer.Argument(help="A results file.")]) -> None:
    """The verdicts of a run as Markdown, for a CI job's summary page."""
    from lmc.reporting.markdown import summary as markdown
    from lmc.results.file import read_results

    typer.echo(markdown(read_results(results)), nl=False)


@app.command()
@with_settings(*SELECTION, "store", "device", "workers")
def plan(
    settings: Settings,
    gpus: Annotated[str, typer.Option(help="Simulate the schedule on so many GPUs, e.g. 8 or 1,8,64.")] = "",
    floor: Annotated[bool, typer.Option("--floor", help="Time the matrix products that training consists of.")] = False,
) -> None:
    """What a tier would train and measure: models, FLOPs, time, memory and disk; how long it takes on GPUs."""
    from lmc.planning.plan import gpu_counts, make_floor, make_plan
    from lmc.planning.text import floor_line, lines

    for line in lines(make_plan(settings, gpu_counts(gpus))):
        typer.echo(line)
    if floor:
        typer.echo(floor_line(make_floor(settings)))


@app.command()
@with_settings("store", "data", "device", "workers", "tier", "extra-claims")
def doctor(settings: Settings) -> None:
    """Look at this machine: threads, precision, device, memory, disk, data. Exits with 1 on a problem."""
    from lmc.commands.doctor import examine

    findings = examine(settings)
    for finding in findings:
        typer.echo(f"{'ok     ' if finding.fine else 'PROBLEM'}  {finding.what:<12} {finding.found}")
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


results.register(app)
diagnose.register(app)
merge.register(app)
forecast.register(app)
app.add_typer(store.store_app, name="store")


def main() -> None:
    """Run the command line; an error of ours is one line and exit status 2."""
    accept_any_console()
    try:
        app()
    except LmcError as error:
        typer.echo(f"lmc: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
