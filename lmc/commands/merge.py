"""``lmc merge``: a reader's own checkpoints merged into one, as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmc import host
from lmc.commands.cli_options import with_settings
from lmc.commands.diagnose import (
    EmaOption,
    InputsOption,
    LossOption,
    MetricOption,
    ModelOption,
    OutputsOption,
    check_output,
    find_functions,
    read_models,
)
from lmc.errors import SpecError
from lmc.executing.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(merge)


@with_settings(device="cpu", executor="local")
def merge(
    settings: Settings,
    checkpoints: Annotated[list[Path], typer.Argument(help="Two or more files of weights: safetensors or torch.save.")],
    model: ModelOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the merge, as safetensors.")],
    align: Annotated[str, typer.Option(help="unpermuted, matching or complementary.")] = "unpermuted",
    rule: Annotated[str, typer.Option(help="mean, or sum: hidden layers summed, the last averaged.")] = "mean",
    weights: Annotated[str, typer.Option(help="One per model, e.g. 0.7,0.3; equal where absent.")] = "",
    select: Annotated[str, typer.Option(help="all, or greedy: those whose mean does best with the data.")] = "all",
    data: Annotated[str | None, typer.Option(help="As for lmc diagnose, to reset BatchNorm statistics on.")] = None,
    shape: Annotated[str, typer.Option(help="Of one input, e.g. 3,32,32, where there is no data.")] = "",
    head: Annotated[str | None, typer.Option(help="Name of the last layer, where it is not found.")] = None,
    loss: LossOption = None,
    metric: MetricOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    ema: EmaOption = False,
) -> None:
    """Merge checkpoints without judging the merge (lmc diagnose does); says what cannot be known without data."""
    import os

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve on a busy machine
    from lmc.diagnosing.data_files import find_data
    from lmc.diagnosing.diagnosis import save_weights
    from lmc.diagnosing.merging import Way, merge_models
    from lmc.executing.process import prepare_arithmetic

    if len(checkpoints) < 2:
        raise SpecError(f"only {checkpoints[0]} was named; name two checkpoints or more")
    way = Way(align, rule, _weights(weights), _shape(shape), head, select)
    check_output("--output", output, [*checkpoints, *([Path(data)] if data else [])])
    prepare_arithmetic(host.cores())
    functions = find_functions(loss=loss, metric=metric, inputs=inputs, outputs=outputs)
    batch, train = find_data(data) if data else (None, None)
    models, notes = read_models(model, checkpoints, ema=ema)
    merged, more = merge_models(models, way, batch, train_data=train, device=settings.device, **functions)
    what = f"{rule} of {len(models)} models, {align}" if select == "all" else f"greedy soup of {len(models)} models"
    save_weights(merged, output, {"lmc.merge": what})
    typer.echo(f"{what}: {output}")
    for note in (*notes, *more):
        typer.echo(f"note: {note}")


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split(",") if text else []
    if not all(size.strip().isdecimal() and int(size) for size in sizes):
        raise SpecError(f"--shape is {text!r}; give the sizes of one input with commas between them, e.g. 3,32,32")
    return tuple(map(int, sizes))


def _weights(text: str) -> list[float] | None:
    try:
        return [float(weight) for weight in text.split(",")] if text else None
    except ValueError:
        raise SpecError(f"--weights is {text!r}; give one number per model, e.g. 0.7,0.3") from None
