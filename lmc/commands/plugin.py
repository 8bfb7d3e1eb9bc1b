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
    from lmc.executing.session import Made
    from lmc.executing.settings import Settings
    from lmc.results.document import Document


@dataclass
class _Run:
    """What one session gathers."""

    settings: Settings
    cases: list[Case]
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    clock: float = field(default_factory=time.monotonic)
    made: Made | None = None
    results: list[CaseResult] = field(default_factory=list)
    baseline: Document | None = None
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
        f"lmc: tier {settings.tier}, device {settings.device}, "
        f"{settings.workers} workers of one thread, store {settings.store}"
    ]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Before the first test, train and measure what the selected claims lack."""
    selected = _selected(session)
    if selected and not session.config.option.collectonly:
        from lmc.commands.baseline import read_baseline
        from lmc.errors import LmcError
        from lmc.executing.session import make_missing

        run = run_of(session.config)
        try:
            if path := run.settings.baseline:
                run.baseline = read_baseline(path, run.settings.tier, selected)
        except LmcError as error:
            raise pytest.UsageError(f"lmc: {error}") from None
        with _output_shown(session.config):
            try:
                run.made = make_missing(selected, run.settings)
            except LmcError as error:
                pytest.exit(f"lmc: {error}", returncode=3)
    return (yield)


@contextlib.contextmanager
def _output_shown(config: pytest.Config) -> Iterator[None]:
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        yield


def _selected(session: pytest.Session) -> list[Case]:
    parameters = [getattr(item, "callspec", None) for item in session.items]
    return [each.params["lmc_case"] for each in parameters if each and "lmc_case" in each.params]


@pytest.fixture
def lmc_result(lmc_case: Case, request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> CaseResult:
    """The verdict on one case, kept for the results file and, as properties of the test, for ``--junitxml``."""
    from lmc.claims.cases import judge

    run = run_of(pytestconfig)
    assert run.made is not None, "the run loop makes what is missing before the first test"
    result = judge(lmc_case, run.made.records)
    run.results.append(result)
    request.node.user_properties += _properties(result)
    return result


def _properties(result: CaseResult) -> list[tuple[str, object]]:
    from lmc.results.wording import asked_in_words, measured_in_words

    claim, found = result.case.claim, result.judgement
    said = {
        "claim": claim.id,
        "ref": claim.ref,
        "setting": result.case.name,
        "verdict": found.verdict,
        "reason": measured_in_words(found),
        "known_gap": result.known_gap,
        "threshold": asked_in_words(found.asked),
        "unit": claim.unit,
        "effect": found.effect,
        "interval": found.interval and "{:.6g} to {:.6g}".format(*found.interval),
        "p_value": found.p_value,
    }
    return [(name, value) for name, value in said.items() if value not in ("", None)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the results file; fail where something is worse than in the baseline."""
    run = session.config.stash.get(_RUN, None)
    if run is None or run.made is None or not run.results:
        return
    from lmc.commands.finish import finish
    from lmc.errors import LmcError

    seconds = time.monotonic() - run.clock
    try:
        run.finished = finish(
            run.results, run.made, run.settings, baseline=run.baseline, started=run.started, seconds=seconds
        )
    except LmcError as error:
        pytest.exit(f"lmc: {error}", returncode=3)
    if run.finished.worse and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Close the run with the verdict table and where the results are."""
    run = config.stash.get(_RUN, None)
    if run is None or run.finished is None:
        return
    terminalreporter.section("lmc verdicts")
    for line in run.finished.lines():
        terminalreporter.write_line(line)
