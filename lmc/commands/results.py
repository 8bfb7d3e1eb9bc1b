"""What the command line makes of results files: report, figures, tables, history, migration, checks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from lmc.errors import SpecError

Results = Annotated[Path, typer.Argument(help="A results file.")]

results_app = typer.Typer(help="Look after results files.", no_args_is_help=True, rich_markup_mode=None)


@results_app.command()
def migrate(
    files: Annotated[list[Path], typer.Argument(help="Results files.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A folder; else in place.")] = None,
) -> None:
    """Write results files in the compact form that this version writes; nothing is written unless all can be read."""
    from lmc.results.file import read_results, write_results
    from lmc.results.rounding import rounded

    targets = {path: path if output is None else output / path.name for path in files}
    twice = next((path for path, count in Counter(targets.values()).items() if count > 1), None)
    if twice is not None:
        raise SpecError(f"two of the files would be written to {twice}; give each a folder of its own, or leave out -o")
    documents = {path: rounded(read_results(path)) for path in files}
    for path, document in documents.items():
        before = path.stat().st_size
        write_results(document, targets[path], option="-o")
        typer.echo(f"{targets[path]}: {before:,} -> {targets[path].stat().st_size:,} bytes")


@results_app.command()
def check(files: Annotated[list[Path], typer.Argument(help="Results files.")]) -> None:
    """Whether a run is evidence: readable, of a named commit and machine, its verdicts those of its observations.

    Exits with 1 where anything is wrong. It runs no code that a file names.
    """
    from lmc.results.checking import check as look
    from lmc.results.file import read_results

    found = {path: look(read_results(path)) for path in files}
    for path, checked in found.items():
        told = "PROBLEM" if checked.problems else "ok"
        counts = f"{checked.confirmed} verdicts judged again alike, {checked.unchecked} not checkable"
        typer.echo(f"{path}: {told}; {counts}")
        for problem in checked.problems:
            typer.echo(f"  {problem}")
    if any(checked.problems for checked in found.values()):
        raise typer.Exit(1)


def report(
    results: Results,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    beside: Annotated[Path | None, typer.Option(help="Results of another run, shown side by side.")] = None,
) -> None:
    """One HTML page with every verdict, figure and recipe of a run; it needs no network."""
    from lmc.reporting.report import report as page
    from lmc.reporting.report import write_page
    from lmc.results.file import read_results

    write_page(page(read_results(results), read_results(beside) if beside else None), output)
    typer.echo(f"report: {output}")


def figures(
    results: Results,
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder.")] = Path("figures"),
    formats: Annotated[str, typer.Option("--format", help="svg, pdf; commas.")] = "svg,pdf",
    only: Annotated[str, typer.Option(help="Only figures whose name contains this.")] = "",
) -> None:
    """The report's figures as files for a paper."""
    from lmc.reporting.plots import write_figures
    from lmc.results.file import read_results

    written = write_figures(read_results(results), output, _listed(formats), only)
    typer.echo(f"{len(written)} files in {output}")


def export(
    results: Results,
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder.")] = Path("tables"),
    formats: Annotated[str, typer.Option("--format", help="csv, parquet; commas.")] = "csv",
) -> None:
    """Every number of a results file as tidy tables."""
    from lmc.reporting.export import export as tables
    from lmc.results.file import read_results

    written = tables(read_results(results), output, _listed(formats))
    typer.echo(f"{len(written)} files in {output}")


def history(
    folder: Annotated[Path, typer.Argument(help="With results files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("history.html"),
    tier: Annotated[str | None, typer.Option(help="Only runs of this tier.")] = None,
    pilot: Annotated[bool, typer.Option(help="The runs of pilot seeds, not those of verdicts.")] = False,
) -> None:
    """Every claim's effect from run to run, and where verdicts changed."""
    from lmc.reporting.history_page import history_page
    from lmc.reporting.report import write_page
    from lmc.results.history import read_history

    found = read_history(folder, tier, pilot=pilot)
    for each in found.skipped:
        typer.echo(f"lmc: skipped: {each}", err=True)
    write_page(history_page(found), output)
    for turn in found.turns():
        between = f"between {turn.old.commit} and {turn.new.commit}"
        typer.echo(f"{turn.claim} on {turn.setting}: {turn.before} -> {turn.after}, {between}")
    typer.echo(f"history: {output} ({len(found.runs)} runs)")


def _listed(text: str) -> list[str]:
    return [name for each in text.split(",") if (name := each.strip())]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    for command in (report, figures, export, history):
        app.command()(command)
    app.add_typer(results_app, name="results")
