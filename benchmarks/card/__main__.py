"""The command line: run the steps, or one of them, sum them up, write the page."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path

from card.driver import Driver, summary
from card.page import write_page
from card.plan import NAMES, STEPS
from card.record import Record, Size, read


def arguments() -> argparse.Namespace:
    """What is wanted."""
    parser = argparse.ArgumentParser(prog="card.sh", description="What the CUDA paths have to prove, in nine minutes.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="the steps that are not done yet")
    for made in (run, commands.add_parser("step", help="one step, in this process")):
        made.add_argument("--out", type=Path, default=Path("runs/card"), help="where each step's JSON and log lie")
        made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
        made.add_argument("--scale", choices=("full", "tenth"), default="full")
        made.add_argument("--seconds", type=float, default=540, help="all in all; a step: what it may take")
    run.add_argument("--only", default=",".join(NAMES), help="names of steps, with commas between them")
    run.add_argument("--copy", type=Path, help="a folder that gets card.json and card.log after each step")
    run.add_argument("--again", action="store_true", help="run what was ok before, too")
    run.add_argument("--patience", type=float, default=1.0, help="each step may take so many times its seconds")
    made.add_argument("name", choices=NAMES)
    told = commands.add_parser("summary", help="what a folder of results says")
    told.add_argument("folder", type=Path, nargs="?", default=Path("runs/card"))
    page = commands.add_parser("page", help="write the part on GPUs of docs/performance.md")
    page.add_argument("results", type=Path, nargs="+", help="card.json of one run, or of several on cards of one kind")
    page.add_argument("--document", type=Path, default=Path("docs/performance.md"))
    return parser.parse_args()


def one_step(given: argparse.Namespace) -> int:
    """A step in this process; its findings lie in its file whatever happens."""
    record = Record(given.out / f"{given.name}.json", given.name, given.device, Size(given.scale), given.seconds)
    record.save()
    try:
        importlib.import_module(next(step.module for step in STEPS if step.name == given.name)).run(record)
    except Exception as error:
        traceback.print_exc()
        record.end(f"{type(error).__name__}: {error}")
    else:
        record.end()
    return 0 if record.status == "ok" else 1


def main() -> int:
    """Do what the command line says; 0 only where every step passed."""
    given = arguments()
    if given.command == "page":
        return write_page(given.results, given.document)
    if given.command == "summary":
        found = read(given.folder / "card.json")
        print(summary(found) if found else f"no card.json in {given.folder}")
        return 0 if found and found["passed"] else 1
    given.out.mkdir(parents=True, exist_ok=True)
    if given.command == "step":
        return one_step(given)
    wanted = given.only.split(",")
    if unknown := [name for name in wanted if name not in NAMES]:
        print(f"no step {unknown[0]!r}; known: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    steps = tuple(step for step in STEPS if step.name in wanted)
    return Driver(given.out, given.device, given.scale, given.seconds, given.copy, given.patience).run(
        steps, given.again
    )


if __name__ == "__main__":
    sys.exit(main())
