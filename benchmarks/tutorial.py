"""Run the tutorials as a reader would and write what they print into them: ``python benchmarks/tutorial.py``.

The one of docs/tutorials/checkpoints.md trains two models; the README's then reads their files.

``--check`` changes nothing and exits with 1 where one does not run, or prints something else up to the numbers: these
depend on how a machine rounds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "tutorials" / "checkpoints.md"
FRONT = re.compile(r"^## Two checkpoints\n(.*?)^## ", re.DOTALL | re.MULTILINE)
OUTPUT = re.compile(r"(<!-- begin: tutorial -->\n```text\n)(.*?)(```\n<!-- end: tutorial -->)", re.DOTALL)
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run_page(text: str, folder: Path) -> str:
    """Save the first block of Python under the name in its first line, run the commands, give what they print.

    Args:
        text: of the tutorial.
        folder: an empty one to work in.

    Raises:
        subprocess.CalledProcessError: the last command failed.
    """
    program, commands = blocks(text, "python")[0], blocks(text, "sh")[0]
    name = program.splitlines()[0].removeprefix("# ").split()[0]
    (folder / name).write_text(program, "utf-8")
    tools = folder / "bin"
    tools.mkdir()
    for tool, command in (("python", sys.executable), ("lmc", f"{sys.executable} -m lmc.commands.cli")):
        (tools / tool).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tools / tool).chmod(0o755)
    return _printed(["sh", "-e", "-c", commands], folder)


def run_front(text: str, folder: Path) -> str:
    """What the README's six lines print of the files that the tutorial left.

    Args:
        text: of the README.
        folder: where `run_page` has worked.

    Raises:
        subprocess.CalledProcessError: they fail.
    """
    (section,) = FRONT.findall(text)
    return _printed([sys.executable, "-c", blocks(section, "python")[0]], folder)


def _printed(command: list[str], folder: Path) -> str:
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    surroundings = os.environ | {"PATH": path, "PYTHONPATH": search}
    return subprocess.run(command, cwd=folder, env=surroundings, stdout=subprocess.PIPE, text=True, check=True).stdout


def without_numbers(text: str) -> str:
    """The same without its numbers, and with lines joined: a longer number breaks them elsewhere."""
    return " ".join(NUMBER.sub("#", text).split())


def main(arguments: list[str]) -> int:
    """Run the tutorials, and write or check what their pages say they print."""
    stale = False
    with tempfile.TemporaryDirectory() as folder:
        for path, run in ((PAGE, run_page), (README, run_front)):
            text = path.read_text("utf-8")
            ((_, before, _),) = OUTPUT.findall(text)
            after = run(text, Path(folder))
            if "--check" in arguments:
                print(after)
                stale |= without_numbers(before) != without_numbers(after)
            else:
                path.write_text(text.replace(f"```text\n{before}", f"```text\n{after}"), "utf-8")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
