"""The pytest plugin: options, one test per claim and setting, the verdict table and the results file.

Loaded in every pytest run of an environment that has lmc installed, so it imports nothing heavy and does
nothing unless a claim is among the selected tests.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lmc.claims.cases import Case, CaseResult
    from lmc.commands.finish import Finished
    from lmc.executing.settings import Settings
    from lmc.results.document import Document, Judged


@dataclass
class _Run:
    """What one session gathers."""

    settings: Settings
    cases: list[Case]
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    clock: float = field(default_factory=time.monotonic)
    results: dict[tuple[str, str], CaseResult] = field(default_factory=dict)
    finished: Finished | None = None


_RUN = pytest.StashKey[_Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ``--lmc-`` options; each is also an environment variable ``LMC_...``."""
    from lmc.executing.options import OPTIONS

    group = parser.getgroup("lmc", "claims about merging networks by averaging (pytest -m paper)")
    for option in OPTIONS:
        group.addoption(f"--lmc-{option.name}", default=None, metavar=option.metavar, help=option.text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; refuse wrong settings before anything is collected."""
    config.addinivalue_line("markers", "paper: a claim of the paper, judged on models trained for it")
    if _claims_may_run(config):
        run_of(config)


def _claims_may_run(config: pytest.Config) -> bool:
    return "paper" in str(config.getoption("markexpr", "")).replace("not paper", "")


def run_of(config: pytest.Config) -> _Run:
    """The session's run, with its settings resolved at the first call.

    Raises:
        pytest.UsageError: a setting is wrong.
    """
    from lmc.errors import LmcError
    from lmc.executing.options import OPTIONS
    from lmc.executing.session import selected_cases
    from lmc.executing.settings import Settings

    if _RUN not in config.stash:
        options = {option.field: config.getoption(f"--lmc-{option.name}") for option in OPTIONS}
        try:
            settings = Settings.resolve(**options)
            found = selected_cases(settings)
        except LmcError as error:
            raise pytest.UsageError(f"lmc: {error}") from None
        config.stash[_RUN] = _Run(settings, found)
    return config.stash[_RUN]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for ``lmc_case`` every case of the tier."""
    if "lmc_case" in metafunc.fixturenames:
        found = run_of(metafunc.config).cases
        metafunc.parametrize("lmc_case", found, ids=[f"{each.claim.id}-{each.name}" for each in found])


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tier, device, workers and store, where claims may run."""
    if not _claims_may_run(config):
        return []
    settings = run_of(config).settings
    return [
        f"lmc: tier {settings.tier}, device {settings.device} ({settings.device_because}), "
        f"{settings.workers} workers of one thread, store {settings.store}"
    ]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Before the first test, make what the selected claims lack, judge all of them and write the results.

    Whether a failure is beyond chance depends on all other cases, so no test can report before all are judged.
    """
    selected = _selected(session)
    if selected and not session.config.option.collectonly:
        from lmc.commands.baseline import read_baseline
        from lmc.errors import LmcError

        run = run_of(session.config)
        try:
            path = run.settings.baseline
            baseline = read_baseline(path, run.settings.tier, selected) if path else None
        except LmcError as error:
            raise pytest.UsageError(f"lmc: {error}") from None
        with _output_shown(session.config):
            try:
                _judge(run, selected, baseline)
            except LmcError as error:
                pytest.exit(f"lmc: {error}", returncode=3)
    return (yield)


def _judge(run: _Run, selected: list[Case], baseline: Document | None) -> None:
    from lmc.commands.finish import finish
    from lmc.executing.session import judged, make_missing

    made = make_missing(selected, run.settings)
    found = judged(selected, made)
    run.results = {(each.case.claim.id, each.case.name): each for each in found}
    seconds = time.monotonic() - run.clock
    run.finished = finish(found, made, run.settings, baseline=baseline, started=run.started, seconds=seconds)


@contextlib.contextmanager
def _output_shown(config: pytest.Config) -> Iterator[None]:
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        yield


def _selected(session: pytest.Session) -> list[Case]:
    parameters = [getattr(item, "callspec", None) for item in session.items]
    return [each.params["lmc_case"] for each in parameters if each and "lmc_case" in each.params]


@dataclass(frozen=True)
class Verdict:
    """What a test is to report of one case.

    Args:
        result: the verdict on it, with its numbers.
        judged: the same as the results file has it.
        why_red: why it makes the run red; nothing where it does not.
    """

    result: CaseResult
    judged: Judged
    why_red: str


@pytest.fixture
def lmc_verdict(lmc_case: Case, request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Verdict:
    """The verdict on one case, and, as properties of the test, for ``--junitxml``."""
    run = run_of(pytestconfig)
    assert run.finished is not None, "the run loop judges all before the first test"
    named = lmc_case.claim.id, lmc_case.name
    found = Verdict(run.results[named], run.finished.judged(*named), run.finished.why_red(*named))
    request.node.user_properties += _properties(found)
    return found


def _properties(verdict: Verdict) -> list[tuple[str, object]]:
    from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words

    claim, found = verdict.result.case.claim, verdict.judged
    said = {
        "claim": claim.id,
        "role": claim.role,
        "ref": claim.ref,
        "setting": found.name,
        "verdict": found.verdict,
        "shown": found.shown,
        "red": verdict.why_red,
        "reason": measured_in_words(found),
        "explained": remark_in_words(found),
        "null": claim.null.text,
        "threshold": asked_in_words(found.asked),
        "unit": claim.unit,
        "effect": found.effect,
        "interval": found.interval and "{:.6g} to {:.6g}".format(*found.interval),
        "p_value": found.p_value,
        "p_contrary": found.p_contrary,
    }
    return [(name, value) for name, value in said.items() if value not in ("", None)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where the run is red, also where no test of it says so."""
    run = session.config.stash.get(_RUN, None)
    if run and run.finished and run.finished.red and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Close the run with the verdict table and where the results are."""
    run = config.stash.get(_RUN, None)
    if run is None or run.finished is None:
        return
    terminalreporter.section("lmc verdicts")
    for line in run.finished.lines():
        terminalreporter.write_line(line)
