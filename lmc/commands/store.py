"""``lmc store``: check a store, free space in it, carry its cells to another machine. Loads no torch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmc.commands.cli_options import with_settings
from lmc.errors import SpecError, StoreError
from lmc.executing.settings import Settings

if TYPE_CHECKING:
    from lmc.store.store import Store

in_store = with_settings("store", device="cpu")
with_claims = with_settings("store", "extra-claims", device="cpu")
store_app = typer.Typer(help="Check a store, free space in it, carry it to another machine.", no_args_is_help=True)


@store_app.command()
@in_store
def verify(settings: Settings) -> None:
    """Check every record and weights file. Exits with 1 where one is damaged, after setting it aside."""
    from lmc.store.leases import Leases, describe
    from lmc.store.upkeep import RECORDS, files_of
    from lmc.store.upkeep import verify as check

    opened = _opened(settings.store)
    rest = files_of(opened)
    sound, size, problems = check(opened)
    typer.echo(f"{_counted(sound)}; {_size(size)} of weights")
    for what, paths in rest.items():
        if what != RECORDS:
            typer.echo(f"{what}: {len(paths)} files, such as {paths[0]}")
    for key, content in Leases(opened.root).others().items():
        typer.echo(f"being made by {describe(content)}: {key}")
    for problem in problems:
        typer.echo(f"DAMAGED: {problem}")
    if problems:
        raise typer.Exit(1)


@store_app.command()
@with_claims
def prune(
    settings: Settings,
    context: typer.Context,
    keep_tier: Annotated[str | None, typer.Option(help="Also models that no claim of these needs; commas.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, only say what would be freed.")] = False,
) -> None:
    """Remove what nothing needs: damaged and temporary files, checkpoints of finished models."""
    from lmc.store.store import remove
    from lmc.store.upkeep import prunable, size_of

    keys = _keys(settings, keep_tier, "keep-tier", context)
    useless = prunable(_opened(settings.store), keys)
    total = sum(map(size_of, useless.values()))
    for reason, paths in useless.items():
        if paths:
            typer.echo(f"{reason}: {len(paths)} files, {_size(size_of(paths))}")
        if yes:
            remove(paths)
    typer.echo(f"freed {_size(total)}" if yes else f"would free {_size(total)}; add --yes to do so")


@store_app.command("export")
@with_claims
def export_archive(
    settings: Settings,
    context: typer.Context,
    archive: Annotated[Path, typer.Argument(help="The file to write (tar).")],
    tier: Annotated[str | None, typer.Option(help="Only what claims of these need; commas.")] = None,
    weights: Annotated[bool, typer.Option(help="With weights, and checkpoints of unfinished models.")] = True,
) -> None:
    """Write the store's cells into one file that ``lmc store import`` reads."""
    from lmc.store.archive import export_cells

    keys = _keys(settings, tier, "tier", context)
    written = export_cells(_opened(settings.store), archive, keys, weights=weights)
    typer.echo(f"{archive}: {_counted(written)}, {_size(archive.stat().st_size)}")


@store_app.command("import")
@in_store
def import_archive(
    settings: Settings,
    archive: Annotated[Path, typer.Argument(help="A file that lmc store export wrote.")],
) -> None:
    """Put the cells of an exported file into the store; what is there already stays."""
    from lmc.store.archive import import_cells

    done = import_cells(_opened(settings.store, new=True), archive)
    typer.echo(f"new: {_counted(done.new)}; there already: {done.same}")
    for path in done.differing:
        typer.echo(f"differs, kept as it is: {path}")


def _opened(root: Path, *, new: bool = False) -> Store:
    from lmc.store.store import Store

    if not new and not root.is_dir():
        raise StoreError(f"there is no store {root}; name one with --store or LMC_STORE")
    return Store(root)


def _keys(settings: Settings, tiers: str | None, option: str, context: typer.Context) -> frozenset[str] | None:
    """Keys of what the claims of ``tiers`` need, extra ones too, in any precision; ``None`` where none is named.

    Args:
        settings: of the command.
        tiers: names, separated by commas.
        option: that names them.
        context: of the command, which knows whether the claims were named in it or in the environment.

    Raises:
        SpecError: a tier is unknown, or the command names claims and no tier, which would mean nothing.
    """
    from lmc.claims.cases import needed
    from lmc.executing.session import selected_cases
    from lmc.specs import PRECISIONS

    extra_claims = ",".join(settings.extra_claims)
    if tiers is None:
        if context.params["extra_claims"] is not None:
            raise SpecError(f"--extra-claims {extra_claims} says nothing without a tier; add --{option}, e.g. quick")
        return None
    found = set()
    for tier in tiers.split(","):
        for precision in PRECISIONS:
            chosen = {"tier": tier, "extra_claims": extra_claims, "precision": precision}
            # without the environment: what restricts a run, such as LMC_CLAIMS, does not restrict this
            for each in needed(selected_cases(Settings.resolve({}, device="cpu", **chosen))):
                found |= {each.key, *(spec.key for spec in each.specs)}
    return frozenset(found)


def _counted(cells: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in cells.items() if count) or "nothing"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
