"""Options of commands from the one table of `lmc.executing.options`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from lmc.executing.options import OPTION_NAMED, Option
from lmc.executing.settings import Settings

Command = Callable[..., None]


def with_settings(*names: str, **fixed: str) -> Callable[[Command], Command]:
    """Give a command these options; its first argument are the settings that they amount to.

    Args:
        *names: of options in the table.
        **fixed: fields of the settings that the command itself chooses.
    """
    options = [OPTION_NAMED[name] for name in names]

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        own = [each.replace(annotation=hints[each.name]) for each in _own_parameters(command)]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            taken = {option.field: given.pop(option.field) for option in options}
            command(Settings.resolve(None, **taken, **fixed), **given)

        parameters = [*own, *map(_parameter, options)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _own_parameters(command: Command) -> list[inspect.Parameter]:
    """Those after the settings, as keywords, in which form typer passes them."""
    parameters = list(inspect.signature(command).parameters.values())[1:]
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]


def _parameter(option: Option) -> inspect.Parameter:
    told = typer.Option(f"--{option.name}", help=option.text, metavar=option.metavar, show_default=False)
    annotation = Annotated[str | None, told]
    return inspect.Parameter(option.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
