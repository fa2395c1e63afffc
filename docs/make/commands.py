"""Writes docs/commands.md to standard output: every verb's help, as click prints it at 88 columns."""

from __future__ import annotations

import click
from prunebench.cli import EPILOG, VERBS, bench


def page() -> str:
    """The page."""
    parts = ["# Commands\n\nMade by `python docs/make/commands.py > docs/commands.md`.\n"]
    for verb in VERBS:
        parts.append(section(("bench", verb), bench.get_command(click.Context(bench), verb)))
    return "\n".join(parts) + "\n## Exit codes\n\n" + " ".join(EPILOG.split()) + "\n"


def section(path: tuple[str, ...], command: click.Command | None) -> str:
    """One command and those below it."""
    assert command is not None
    shown = {**bench.context_settings, "max_content_width": 88, "terminal_width": 88}
    with click.Context(command, info_name=" ".join(path), **shown) as context:
        text = f"## {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            text += "\n" + section((*path, name), sub)
    return text


print(page(), end="")
