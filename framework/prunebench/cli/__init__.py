"""The command `bench`: one file per verb, imported only when it is called."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from typing import Any

import click

from prunebench.errors import PruneBenchError

VERBS: dict[str, tuple[str, str]] = {
    "run": ("prunebench.cli.run", "Run a grid: train, prune, measure, store, report."),
    "plan": ("prunebench.cli.plan", "Show what a grid would run, without running it."),
    "watch": ("prunebench.cli.watch", "Follow a run from another terminal."),
    "runs": ("prunebench.cli.runs", "List the runs in the database."),
    "save": ("prunebench.cli.save", "Save the pruned network of a trial as a file."),
    "repro": ("prunebench.cli.repro", "Run a stored trial again and compare the results."),
    "show": ("prunebench.cli.show", "Show one trial and everything measured in it."),
    "query": ("prunebench.cli.query", "Ask the results database in SQL."),
    "report": ("prunebench.cli.report", "Write the results as one HTML page."),
    "chart": ("prunebench.cli.chart", "Write one chart as SVG, PNG, PDF, HTML or JSON."),
    "claims": ("prunebench.cli.claims", "Check a run's claims against its results."),
    "ledger": ("prunebench.cli.ledger", "Compare published numbers with ours."),
    "compare": ("prunebench.cli.compare", "Compare two runs, versions or methods, paired."),
    "audit": ("prunebench.cli.audit", "Check a run against the checklist of a sound evaluation."),
    "papers": ("prunebench.cli.papers", "List published papers as grids, or show one."),
    "plugins": ("prunebench.cli.plugins", "List plugins: installed, broken, published."),
    "new": ("prunebench.cli.new", "Create a plugin package of your own."),
    "check": ("prunebench.cli.check", "Test a plugin with the kit that tests the built-in ones."),
    "export": ("prunebench.cli.export", "Write the results as Parquet with a manifest."),
    "publish": ("prunebench.cli.publish", "Write runs as a folder for others, with a site."),
    "join": ("prunebench.cli.join", "Import results that somebody published."),
    "merge": ("prunebench.cli.merge", "Import results from another database."),
    "db": ("prunebench.cli.db", "Check or rebuild the results database."),
    "doctor": ("prunebench.cli.doctor", "Check this machine; every problem comes with a fix."),
}

EPILOG = """Exit codes: 0 success; 1 something ran and failed or got worse; 2 usage, grid or plugin error, one
line says how to fix it; 130 interrupted, everything finished is kept."""


class LazyGroup(click.Group):
    """Lists the verbs without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """With a did-you-mean for a verb that is not there."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            from prunebench.errors import did_you_mean

            raise click.UsageError(f"no command {name!r}{did_you_mean(name, VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that `bench --help` stays quick."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="prunebench", prog_name="bench")
def bench() -> None:
    """Benchmark the pruning and compression of neural networks, keep the results, see what holds."""
    try:
        os.getcwd()
    except OSError:  # which torch and every relative path would stumble over later
        raise PruneBenchError("the folder you are in is gone: cd to one that exists") from None


def main(args: list[str] | None = None) -> None:
    """Run the command; an error that the user can fix is one line and exit code 2."""
    complete_streams()
    sys.exit(_status(args))


def complete_streams() -> None:
    """Give a standard stream that the caller has closed (`>&-`) to nobody, before a file of ours takes its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # escapes for what the stream's encoding cannot show, and no traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _status(args: list[str] | None) -> int:
    try:
        result: Any = bench.main(args=args, prog_name="bench", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PruneBenchError as error:
        click.echo(f"bench: {one_line(str(error))}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("bench: interrupted", err=True)
        return 130
    except BrokenPipeError:
        silence(sys.stdout)
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        silence(sys.stdout)  # what is left in its buffer would fail once more
        click.echo(f"bench: {one_line(str(error.filename or 'the output'))}: {error.strerror}", err=True)
        return 2


def silence(stream: Any) -> None:
    """Let what is written to `stream` from now on go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line(text: str) -> str:
    """`text` without line breaks and control characters."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
