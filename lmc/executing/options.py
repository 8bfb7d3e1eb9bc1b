"""The one table of options: pytest, the command line, the environment and the README's table are made from it.

Loaded in every pytest run of an environment that has lmc installed; imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lmc.errors import SpecError
from lmc.executing.devices import parse_device
from lmc.specs import PRECISIONS

HOME = "$LMC_HOME"
"""Stands in defaults for the folder that everything lives in."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A setting of a run.

    Args:
        name: with dashes; ``--name`` of ``lmc``, ``--lmc-name`` of pytest.
        help: what it is, one clause without a full stop.
        metavar: what its value is, in capitals.
        parse: the checked value from the text that was given; `lmc.errors.SpecError` says what is wrong with it.
        default: what counts where nothing is given, as it could be given; empty for ``None`` or nothing.
        otherwise: where there is no such text, what happens then.
    """

    name: str
    help: str
    metavar: str
    parse: Callable[[str], Any]
    default: str = ""
    otherwise: str = ""

    @property
    def field(self) -> str:
        """Its name as a field of `lmc.executing.settings.Settings`."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that says the same."""
        return f"LMC_{self.field.upper()}"

    @property
    def text(self) -> str:
        """The help, with the default and the environment variable."""
        return f"{self.help} (default: {self.default or self.otherwise}; also {self.variable})"


def _one_of(name: str, allowed: tuple[str, ...]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise SpecError(f"unknown {name} {value!r}; choose one of {', '.join(allowed)}")
        return value

    return parse


def path(value: str) -> Path:
    """A file or folder, ``~`` for the home folder."""
    return Path(value).expanduser()


def _listed(value: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in value.split(","))))


def _workers(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise SpecError(f"workers is {value!r}; it must be a whole number of at least 1")
    return int(value)


def _width(value: str) -> float:
    try:
        width = float(Fraction(value))
    except (ValueError, ZeroDivisionError, OverflowError):
        width = 0.0
    if not 0 < width < float("inf"):
        raise SpecError(f"max_width is {value!r}; it must be a number above 0, e.g. 2 or 1/4")
    return width


def _precision(value: str) -> str | None:
    chosen = _one_of("precision", ("auto", *PRECISIONS))(value)
    return None if chosen == "auto" else chosen


OPTIONS = (
    Option(
        name="tier",
        help="what to train: quick, preview, laptop, vit, standard, paper, or package.module:name of your own",
        metavar="TIER",
        parse=str,
        default="quick",
    ),
    Option(
        name="extra-claims",
        help="claims of your own to judge beside the paper's: package.module:NAME, several separated by commas",
        metavar="NAMES",
        parse=_listed,
        otherwise="none",
    ),
    Option(
        name="store",
        help="folder of trained models and measurements",
        metavar="FOLDER",
        parse=path,
        default=f"{HOME}/store",
    ),
    Option(
        name="data",
        help="folder of prepared datasets",
        metavar="FOLDER",
        parse=path,
        default=f"{HOME}/data",
    ),
    Option(
        name="device",
        help="where to compute: auto (an accelerator where torch can use one), cpu, cuda, mps, xpu, or one as cuda:1",
        metavar="DEVICE",
        parse=parse_device,
        default="auto",
    ),
    Option(
        name="workers",
        help="worker processes",
        metavar="NUMBER",
        parse=_workers,
        otherwise="one per core",
    ),
    Option(
        name="executor",
        help="local for processes on this machine, ray for tasks of a Ray cluster (needs lmc[ray])",
        metavar="EXECUTOR",
        parse=_one_of("executor", ("local", "ray")),
        default="local",
    ),
    Option(
        name="ray-address",
        help="the Ray cluster: host:port or auto",
        metavar="ADDRESS",
        parse=str,
        otherwise="RAY_ADDRESS; else Ray is started on this machine",
    ),
    Option(
        name="claims",
        help="only claims whose id contains one of these, separated by commas; core for the paper's core claims",
        metavar="PARTS",
        parse=_listed,
        otherwise="all",
    ),
    Option(
        name="setting",
        help="only these settings of the tier, separated by commas, e.g. vgg-digits",
        metavar="NAMES",
        parse=_listed,
        otherwise="all of the tier",
    ),
    Option(
        name="role",
        help="only these families beside the strong one, separated by commas, e.g. weak,zero",
        metavar="NAMES",
        parse=_listed,
        otherwise="all of the tier",
    ),
    Option(
        name="arch",
        help="only this kind of network (mlp, vgg, resnet, vit) or this architecture",
        metavar="NAME",
        parse=str,
        otherwise="all of the tier",
    ),
    Option(
        name="dataset",
        help="only this dataset",
        metavar="NAME",
        parse=str,
        otherwise="all of the tier",
    ),
    Option(
        name="max-width",
        help="no model wider than this multiplier, e.g. 2 or 1/4",
        metavar="WIDTH",
        parse=_width,
        otherwise="no limit",
    ),
    Option(
        name="precision",
        help="fp32, bf16, or auto: bf16 at laptop, standard and paper where the device is fast at it",
        metavar="PRECISION",
        parse=_precision,
        default="auto",
    ),
    Option(
        name="results",
        help="where the results file goes, and beside it the report",
        metavar="FILE",
        parse=path,
        otherwise=f"a new file in {HOME}/results",
    ),
    Option(
        name="baseline",
        help="results file to compare with; what got worse than in it fails the run",
        metavar="FILE",
        parse=path,
        otherwise="none",
    ),
)
"""Every option of a run."""

OPTION_NAMED = {option.name: option for option in OPTIONS}
