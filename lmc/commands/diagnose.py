"""``lmc diagnose``: the diagnosis of a reader's own checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmc import host
from lmc.commands.cli_options import with_settings
from lmc.errors import SpecError
from lmc.executing.settings import Settings
from lmc.references import find

if TYPE_CHECKING:
    from torch import nn

    from lmc.diagnosing.diagnosis import Diagnosis

ModelOption = Annotated[str, typer.Option("--model", help="package.module:factory, a function that builds the model.")]
DataOption = Annotated[
    str, typer.Option("--data", help="safetensors of a batch, a prepared data set, a folder, or module:function.")
]
LossOption = Annotated[
    str | None, typer.Option("--loss", help="module:function of (outputs, labels), one number each.")
]
MetricOption = Annotated[
    str | None, typer.Option("--metric", help="module:function of (outputs, labels), or an lmc.Metric.")
]
InputsOption = Annotated[str | None, typer.Option("--inputs", help="module:function of a batch: what the models read.")]
OutputsOption = Annotated[
    str | None, typer.Option("--outputs", help="module:function: what to judge of a model's output.")
]
EmaOption = Annotated[bool, typer.Option("--ema", help="Take the moving average in the checkpoints.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``, and under its former name too, which no help lists."""
    app.command()(diagnose)
    app.command("compare", hidden=True)(diagnose)


@with_settings("device", executor="local")
def diagnose(
    settings: Settings,
    checkpoints: Annotated[list[Path], typer.Argument(help="Two or more files of weights: safetensors or torch.save.")],
    model: ModelOption,
    data: DataOption,
    save: Annotated[Path | None, typer.Option(help="Write the recommended merge as safetensors.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as one HTML page too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    loss: LossOption = None,
    metric: MetricOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    ema: EmaOption = False,
    permutation: Annotated[str, typer.Option(help="auto, always or never: weight matching.")] = "auto",
) -> None:
    """Can these checkpoints be merged by averaging their weights, and why? Exits with 1 where none is recommended.

    The model's module is imported, also from the current folder; nothing in the checkpoints is executed.
    """
    import os
    from dataclasses import replace

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve on a busy machine
    from lmc.diagnosing.data_files import find_data
    from lmc.diagnosing.diagnose import diagnose as diagnose_models
    from lmc.executing.process import prepare_arithmetic

    if len(checkpoints) < 2:
        raise SpecError(f"only {checkpoints[0]} was named; name two checkpoints or more")
    for option, target in (("--save", save), ("--html", html)):
        if target is not None:
            check_output(option, target, (*checkpoints, Path(data)))
    prepare_arithmetic(host.cores())
    functions = find_functions(loss=loss, metric=metric, inputs=inputs, outputs=outputs)
    batch, train = find_data(data)
    models, notes = read_models(model, checkpoints, ema=ema)
    found = diagnose_models(
        models, batch, train_data=train, permutation=permutation, device=settings.device, **functions
    )
    found = replace(found, notes=(*notes, *found.notes))
    if html is not None:
        from lmc.reporting.diagnosis_page import diagnosis_page
        from lmc.reporting.report import write_page

        write_page(diagnosis_page(found), html)
    _tell(found, save, as_json=as_json)


def _tell(found: Diagnosis, save: Path | None, *, as_json: bool) -> None:
    """Print the diagnosis and write the merge that it recommends.

    Raises:
        typer.Exit: there is none.
    """
    import json

    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        for line in found.lines():
            typer.echo(line)
    if save is not None and found.merged is not None:
        found.save(save)
        typer.echo(f"merged weights: {save}", err=as_json)
    elif save is not None:
        typer.echo(f"lmc: {save} was not written: there is no merge to recommend", err=True)
    if found.merged is None:
        raise typer.Exit(1)


def check_output(option: str, target: Path, read: Sequence[Path]) -> None:
    """Refuse a file that is read, or cannot be written, before the work is done.

    Raises:
        SpecError: it is read.
        StoreError: it cannot be written.
    """
    from lmc.diagnosing.diagnosis import check_writable

    if taken := [path for path in read if path.resolve() == target.resolve()]:
        raise SpecError(f"{option} {target} would overwrite {taken[0]}, which is read; name another file")
    check_writable(target)


def read_models(factory: str, checkpoints: Sequence[Path], *, ema: bool) -> tuple[list[nn.Module], list[str]]:
    """The models of checkpoints, and remarks about what was found in them."""
    from lmc.diagnosing.checkpoints import read_checkpoint
    from lmc.diagnosing.models import built

    make = find_factory(factory)
    read = [read_checkpoint(path, ema=ema) for path in checkpoints]
    models, notes = built(make, [each.state for each in read], ema=ema)
    return models, [*(note for each in read for note in each.notes), *notes]


def find_functions(**names: str | None) -> dict[str, Any]:
    """What options name, by option, without those that are absent."""
    return {option: _function(option, name) for option, name in names.items() if name is not None}


def _function(option: str, name: str) -> Any:
    """What ``package.module:name`` names, for an option."""
    found = find(name, option=option, example=f"mine:{option}", wanted="a function")
    if not callable(found) and type(found).__name__ != "Metric":
        raise SpecError(f"--{option} {name} is a {type(found).__name__}; name a function")
    return found


def find_factory(name: str) -> Callable[[], nn.Module]:
    """The function called ``package.module:factory``, imported from the current folder too.

    Raises:
        SpecError: the name is of another form, or there is no such module or function.
    """
    wanted = "a function that builds the model"
    found = find(name, option="model", example="torchvision.models:resnet18", wanted=wanted)
    if not callable(found):
        raise SpecError(f"{name} is a {type(found).__name__}; name {wanted}")
    factory: Callable[[], nn.Module] = found
    return factory
