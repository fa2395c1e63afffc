"""Runs the commands of the three tutorials in a scratch folder and writes what they print below them.

python docs/make/tutorials.py

A block of the language `console` holds commands, each behind `$ `, and what they print. A block behind a comment
`<!-- file: NAME -->` is written to that file first. The pages share the folder, in the order of `PAGES`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

DOCS = Path(__file__).parents[1]
PAGES = ("researcher.md", "author.md", "analyst.md")
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.S | re.M)
SECONDS = 300  # of one command
WAITING = re.compile(r"^bench: plugin .* is still being imported.*\n", re.M)  # on a busy machine only
VARIES = (
    (r"\b(\w+)-\d{8}-\d{6}-[0-9a-f]{4}\b", r"\1-RUN"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME"),
    (r"[\d,]+(\.\d+)? s\b", "SECONDS"),
    (r"[-−]?\d+(\.\d+)?e-\d+|[-−]?\d+\.\d+", "NUMBER"),
    (r"faster|slower|can't tell", "VERDICT"),
    (r" +", " "),
    (r"(?m)^(\w+-RUN .* )(?:[\d,]+|NUMBER)$", r"\1SECONDS"),  # the last column of `bench runs`
    (r"(?m) $", ""),
)


def commands_of(text: str) -> list[str]:
    """The commands of a console block; one that ends in a backslash goes on in the next line."""
    lines, found = iter(text.splitlines()), []
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command += "\n" + next(lines)
            found.append(command)
    return found


def printed(command: str, folder: Path) -> str:
    """What a command prints, errors included; raises RuntimeError where it fails."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{command!r} ended with {done.returncode}:\n{done.stdout}")
    lines = (line.rstrip() for line in WAITING.sub("", done.stdout).splitlines())
    return "".join(f"{line}\n" for line in lines)


def environment(folder: Path) -> Mapping[str, str]:
    """The commands of this environment on a screen of 110 columns without colours."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "NO_COLOR": "1",
        "COLUMNS": "110",
        "PRUNEBENCH_LOCKS": str(folder / ".locks"),
        "PRUNEBENCH_IMPORT_LIMIT": "300",
    }


def run(page: str, folder: Path) -> Iterator[str]:
    """The text of each console block of a page, made anew in `folder`."""
    for block in BLOCK.finditer(page):
        if block["file"]:
            (folder / block["file"]).write_text(block["text"], encoding="utf-8")
        if block["language"] == "console":
            yield "".join(f"$ {command}\n{printed(command, folder)}" for command in commands_of(block["text"]))


def filled(page: str, folder: Path) -> str:
    """The page with what its commands print today."""
    made = run(page, folder)

    def fill(block: re.Match[str]) -> str:
        return f"```console\n{next(made)}```" if block["language"] == "console" else block[0]

    return BLOCK.sub(fill, page)


def masked(text: str) -> str:
    """The text without what differs from machine to machine and from time to time."""
    for pattern, name in VARIES:
        text = re.sub(pattern, name, text)
    return text


def main() -> None:
    """Fill the pages."""
    with tempfile.TemporaryDirectory() as folder:
        for name in PAGES:
            page = DOCS / name
            page.write_text(filled(page.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
