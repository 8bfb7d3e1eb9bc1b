"""``lmc forecast``: the barrier that an independently trained twin would show, and the width at which it is gone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmc import host
from lmc.commands.cli_options import with_settings
from lmc.commands.diagnose import (
    DataOption,
    EmaOption,
    InputsOption,
    LossOption,
    MetricOption,
    OutputsOption,
    find_functions,
    read_models,
)
from lmc.errors import SpecError
from lmc.executing.settings import Settings

if TYPE_CHECKING:
    from lmc.diagnosing.forecasting import Forecast, Spread
    from lmc.diagnosing.widening import WidthForecast

ModelsOption = Annotated[
    list[str], typer.Option("--model", help="package.module:factory that builds the model; once, or per checkpoint.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(forecast)


@with_settings("device", executor="local")
def forecast(
    settings: Settings,
    checkpoints: Annotated[list[Path], typer.Argument(help="A file of weights; or one of every width.")],
    model: ModelsOption,
    data: DataOption,
    widths: Annotated[str, typer.Option(help="Of the checkpoints, e.g. 64,128,256, where there are several.")] = "",
    tolerance: Annotated[float | None, typer.Option(help="Largest loss barrier that counts as none.")] = None,
    draws: Annotated[int, typer.Option(help="Random permutations of each model to merge it with.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    loss: LossOption = None,
    metric: MetricOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    ema: EmaOption = False,
) -> None:
    """The barrier that an independently trained twin of this model would show if the two were averaged.

    The model is averaged with random permutations of itself; no second model is trained. From checkpoints of several
    widths (--widths), also the width from which on the barrier would lie below a tolerance.
    """
    import json
    import os
    from dataclasses import replace

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve on a busy machine
    from lmc.diagnosing.data_files import find_data
    from lmc.diagnosing.forecasting import forecast as forecast_barrier
    from lmc.diagnosing.widening import forecast_width
    from lmc.executing.process import prepare_arithmetic

    sizes = _widths(widths, checkpoints)
    factories = model * len(checkpoints) if len(model) == 1 else model
    if len(factories) != len(checkpoints):
        raise SpecError(
            f"{len(model)} --model for {len(checkpoints)} checkpoints; name one, or one each in their order"
        )
    if tolerance is not None and not sizes:
        raise SpecError(f"--tolerance {tolerance:g} is of use with checkpoints of several widths; leave it out")
    prepare_arithmetic(host.cores())
    functions = find_functions(loss=loss, metric=metric, inputs=inputs, outputs=outputs)
    batch, train = find_data(data)
    read = [read_models(factory, [path], ema=ema) for factory, path in zip(factories, checkpoints, strict=True)]
    models, notes = [each[0][0] for each in read], [note for each in read for note in each[1]]
    kept: dict[str, Any] = {"train_data": train, "device": settings.device, **functions}
    if sizes:
        wide = forecast_width(models, sizes, batch, tolerance, draws, **kept)
        text, document = width_lines(wide), wide.to_json()
    else:
        found = forecast_barrier(models[0], batch, draws, **kept)
        found = replace(found, notes=(*notes, *found.notes))
        text, document, notes = lines(found), found.to_json(), []
    for line in [json.dumps(document, indent=1)] if as_json else text:
        typer.echo(line)
    if not as_json:
        for note in notes:
            typer.echo(f"note: {note}")


def _widths(text: str, checkpoints: Sequence[Path]) -> list[float]:
    """One per checkpoint; none for a single checkpoint."""
    try:
        sizes = [float(size) for size in text.split(",")] if text else []
    except ValueError:
        sizes = [math.nan]
    if any(not 0 < size < math.inf for size in sizes):
        raise SpecError(f"--widths is {text!r}; give one positive number per checkpoint, e.g. 64,128,256")
    if len(sizes) != len(checkpoints) and (sizes or len(checkpoints) > 1):
        raise SpecError(
            f"{len(sizes)} --widths for {len(checkpoints)} checkpoints; give one each, e.g. --widths 64,128,256"
        )
    return sizes if len(checkpoints) > 1 else []


def width_lines(found: WidthForecast) -> list[str]:
    """The forecast of a width in words."""
    calibrated = found.quantity.startswith("calibrated")
    rows = [
        f"{found.quantity} with {found.forecasts[0].draws} random permutations of each model (mean, 95 % interval):"
    ]
    for width, each in zip(found.widths, found.forecasts, strict=True):
        spread = each.calibrated_loss if calibrated and each.calibrated_loss else each.loss
        metric = f"{each.task.metric_name} {each.task.told(each.model.metric)}"
        rows.append(f"  width {width:<8g} {spread.mean:7.3f} ({spread.low:.3f} to {spread.high:.3f})   {metric}")
    high = f"{found.high:.3g}" if math.isfinite(found.high) else "no upper limit"
    where = "between two widths that were measured" if found.seen else "continued beyond them as a power of the width"
    several = len(found.widths) > len(set(found.widths))
    return [
        *rows,
        f"it falls below {found.tolerance:.3g} at width {found.width:.3g} ({found.low:.3g} to {high}), {where}",
        f"The interval is over permutations{' and the models of each width' if several else ''}"
        f"{'' if several else ', not over trainings: pass several checkpoints of each width for that'}.",
    ]


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
