"""Run the README's tutorial as a reader would and write what it prints into it: ``python benchmarks/tutorial.py``.

``--check`` changes nothing and exits with 1 where it does not run, or prints something else up to the numbers: these
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
SECTION = re.compile(r"^## Your own models\n(.*?)^## ", re.DOTALL | re.MULTILINE)
OUTPUT = re.compile(r"(<!-- begin: tutorial -->\n```text\n)(.*?)(```\n<!-- end: tutorial -->)", re.DOTALL)
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def printed(section: str, folder: Path) -> str:
    """Save the first block of Python under the name in its first line, run the commands, give what they print.

    Args:
        section: of the README.
        folder: an empty one to work in.

    Raises:
        subprocess.CalledProcessError: the last command failed.
    """
    program, *_ = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    commands, *_ = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    name = program.splitlines()[0].removeprefix("# ").split()[0]
    (folder / name).write_text(program, "utf-8")
    tools = folder / "bin"
    tools.mkdir()
    for tool, command in (("python", sys.executable), ("lmc", f"{sys.executable} -m lmc.commands.cli")):
        (tools / tool).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tools / tool).chmod(0o755)
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    surroundings = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": search}
    run = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=folder, env=surroundings, stdout=subprocess.PIPE, text=True, check=True
    )
    return run.stdout


def without_numbers(text: str) -> str:
    """The same without its numbers, and with lines joined: a longer number breaks them elsewhere."""
    return " ".join(NUMBER.sub("#", text).split())


def main(arguments: list[str]) -> int:
    """Run the tutorial, and write or check what the README says it prints."""
    text = README.read_text("utf-8")
    (section,) = SECTION.findall(text)
    ((_, before, _),) = OUTPUT.findall(section)
    with tempfile.TemporaryDirectory() as folder:
        after = printed(section, Path(folder))
    if "--check" in arguments:
        print(after)
        return int(without_numbers(before) != without_numbers(after))
    README.write_text(OUTPUT.sub(lambda match: f"{match[1]}{after}{match[3]}", text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
