"""``lmc forecast``: from one checkpoint, the barrier that an independently trained twin would show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmc.commands.cli_options import with_settings
from lmc.commands.diagnose import find_factory
from lmc.executing.settings import Settings, cores

if TYPE_CHECKING:
    from lmc.measuring.forecast import Forecast, Spread


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(forecast)


@with_settings(device="cpu", executor="local")
def forecast(
    settings: Settings,
    checkpoint: Annotated[Path, typer.Argument(help="A file of weights: safetensors or torch.save.")],
    model: Annotated[str, typer.Option(help="package.module:factory, a function that builds the model.")],
    data: Annotated[Path, typer.Option(help="As for lmc diagnose: inputs with labels.")],
    draws: Annotated[int, typer.Option(help="Random permutations of the model to merge it with.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """The barrier that an independently trained twin of this model would show if the two were averaged.

    The model is averaged with random permutations of itself; no second model is trained.
    """
    import json
    import os
    from dataclasses import asdict

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve on a busy machine
    import torch

    from lmc.diagnosing.checkpoints import read_checkpoint, read_data
    from lmc.diagnosing.models import PROBED, built, check_states, try_out
    from lmc.diagnosing.samples import check_labels, read_samples, with_training
    from lmc.executing.process import prepare_arithmetic
    from lmc.measuring.forecast import forecast as forecast_barrier
    from lmc.measuring.paths import BN_IMAGES

    prepare_arithmetic(cores())
    state = read_checkpoint(checkpoint)
    check_states([state])
    one, spare = built(find_factory(model), [state, state])
    pair, train = read_data(data)
    samples = read_samples(pair, one, torch.device("cpu"))
    check_labels(samples.labels, try_out([one], spare, samples.examples(PROBED)))
    found = forecast_barrier(one, spare, with_training(samples, train, BN_IMAGES), draws)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    for line in lines(found):
        typer.echo(line)


def lines(found: Forecast) -> list[str]:
    """The forecast in words."""

    def row(what: str, spread: Spread, unit: str, scale: float = 1.0) -> str:
        mean, low, high, least, most = (
            scale * each for each in (spread.mean, spread.low, spread.high, spread.least, spread.most)
        )
        return f"{what:<24} {mean:.3f} ({low:.3f} to {high:.3f}){unit}; 90 % of single draws {least:.3f} to {most:.3f}"

    own = found.model
    return [
        f"the model: accuracy {own.accuracy:.3f}, loss {own.loss:.3f} (calibrated {own.calibrated_loss:.3f})",
        f"averaged with {found.draws} random permutations of itself (mean and its 95 % interval):",
        row("loss barrier", found.loss, " nats"),
        row("calibrated loss barrier", found.calibrated_loss, " nats"),
        row("accuracy lost", found.accuracy, " points", 100.0),
        "A twin also brings an ensemble's gain, which lowers a real pair's barrier and is not in these numbers;",
        "nor is how far other trainings of this model would differ from this one.",
    ]
