"""``lmc forecast``: from one checkpoint, the barrier that an independently trained twin would show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmc import host
from lmc.commands.cli_options import with_settings
from lmc.commands.diagnose import (
    DataOption,
    EmaOption,
    InputsOption,
    LossOption,
    MetricOption,
    ModelOption,
    OutputsOption,
    find_functions,
    read_models,
)
from lmc.executing.settings import Settings

if TYPE_CHECKING:
    from lmc.diagnosing.forecasting import Forecast, Spread


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(forecast)


@with_settings("device", executor="local")
def forecast(
    settings: Settings,
    checkpoint: Annotated[Path, typer.Argument(help="A file of weights: safetensors or torch.save.")],
    model: ModelOption,
    data: DataOption,
    draws: Annotated[int, typer.Option(help="Random permutations of the model to merge it with.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    loss: LossOption = None,
    metric: MetricOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    ema: EmaOption = False,
) -> None:
    """The barrier that an independently trained twin of this model would show if the two were averaged.

    The model is averaged with random permutations of itself; no second model is trained.
    """
    import json
    import os
    from dataclasses import replace

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve on a busy machine
    from lmc.diagnosing.data_files import find_data
    from lmc.diagnosing.forecasting import forecast as forecast_barrier
    from lmc.executing.process import prepare_arithmetic

    prepare_arithmetic(host.cores())
    functions = find_functions(loss=loss, metric=metric, inputs=inputs, outputs=outputs)
    batch, train = find_data(data)
    models, notes = read_models(model, [checkpoint], ema=ema)
    found = forecast_barrier(models[0], batch, draws, train_data=train, device=settings.device, **functions)
    found = replace(found, notes=(*notes, *found.notes))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    for line in lines(found):
        typer.echo(line)


def lines(found: Forecast) -> list[str]:
    """The forecast in words."""
    task, own = found.task, found.model

    def row(what: str, spread: Spread, unit: str, scale: float = 1.0) -> str:
        mean, low, high, least, most = (
            scale * each for each in (spread.mean, spread.low, spread.high, spread.least, spread.most)
        )
        return f"{what:<24} {mean:.3f} ({low:.3f} to {high:.3f}){unit}; 90 % of single draws {least:.3f} to {most:.3f}"

    unit = task.loss_unit and f" {task.loss_unit}"
    calibrated = "" if own.calibrated_loss is None else f" (calibrated {own.calibrated_loss:.3f})"
    change = "added" if task.lower_is_better else "lost"
    return [
        f"the model: {task.metric_name} {task.told(own.metric)}, loss {own.loss:.3f}{calibrated}",
        f"averaged with {found.draws} random permutations of itself (mean and its 95 % interval):",
        row("loss barrier", found.loss, unit),
        *([row("calibrated loss barrier", found.calibrated_loss, unit)] if found.calibrated_loss else []),
        row(f"{task.metric_name} {change}", found.metric, *((" points", 100.0) if task.share else ("",))),
        "A twin also brings an ensemble's gain, which lowers a real pair's barrier and is not in these numbers;",
        "nor is how far other trainings of this model would differ from this one.",
        *(f"note: {note}" for note in found.notes),
    ]
