"""``lmc merge``: a reader's own checkpoints merged into one, as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmc.commands.cli_options import with_settings
from lmc.commands.diagnose import find_factory
from lmc.errors import SpecError, StoreError
from lmc.executing.settings import Settings, cores


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(merge)


@with_settings(device="cpu", executor="local")
def merge(
    settings: Settings,
    checkpoints: Annotated[list[Path], typer.Argument(help="Two or more files of weights: safetensors or torch.save.")],
    model: Annotated[str, typer.Option(help="package.module:factory, a function that builds the model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the merge, as safetensors.")],
    align: Annotated[str, typer.Option(help="unpermuted, matching or complementary.")] = "unpermuted",
    rule: Annotated[str, typer.Option(help="mean, or sum: hidden layers summed, the last averaged.")] = "mean",
    weights: Annotated[str, typer.Option(help="One per model, e.g. 0.7,0.3; equal where absent.")] = "",
    data: Annotated[Path | None, typer.Option(help="As for lmc diagnose, to reset BatchNorm statistics on.")] = None,
    shape: Annotated[str, typer.Option(help="Of one input, e.g. 3,32,32, where there is no data.")] = "",
    head: Annotated[str | None, typer.Option(help="Name of the last layer, where it is not found.")] = None,
) -> None:
    """Merge checkpoints without judging the merge (lmc diagnose does); says what cannot be known without data."""
    import os

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve on a busy machine
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from lmc.diagnosing.checkpoints import read_checkpoint, read_data
    from lmc.diagnosing.diagnosis import check_writable
    from lmc.diagnosing.merging import Asked, merge_states
    from lmc.executing.process import prepare_arithmetic

    if len(checkpoints) < 2:
        raise SpecError(f"only {checkpoints[0]} was named; name two checkpoints or more")
    read = [*checkpoints, *([data] if data else [])]
    if taken := [path for path in read if path.resolve() == output.resolve()]:
        raise SpecError(f"--output {output} would overwrite {taken[0]}, which is read; name another file")
    asked = Asked(align, rule, _weights(weights), _shape(shape), head)
    check_writable(output)
    prepare_arithmetic(cores())
    pair, train = (None, None) if data is None else read_data(data)
    states = [read_checkpoint(path) for path in checkpoints]
    merged, notes = merge_states(find_factory(model), states, asked, pair, train)
    try:
        save_file({name: each.contiguous() for name, each in merged.items()}, output, {"lmc.merge": f"{align}, {rule}"})
    except (OSError, SafetensorError) as error:
        raise StoreError(f"cannot write {output}: {error}; choose another place") from error
    typer.echo(f"{rule} of {len(states)} models, {align}: {output}")
    for note in notes:
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
