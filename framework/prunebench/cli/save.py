"""`bench save`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option, plugin_options


@click.command("save")
@click.argument("trial")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Write to X.pt2, X.safetensors, X.onnx or a folder.",
)
@click.option("--memory", is_flag=True, help="Also measure the memory that a fresh process needs to load and run it.")
@click.option("--device", default="cpu", show_default=True, help="Device on which the network is rebuilt.")
@db_option
@plugin_options
@json_option
def command(
    trial: str,
    out: Path,
    memory: bool,
    device: str,
    db: Path,
    plugin_files: tuple[Path, ...],
    disabled: tuple[str, ...],
    as_json: bool,
) -> int:
    """Save the pruned network of a trial as a file. TRIAL is its id, or the beginning of it.

    The network is rebuilt from the checkpoint and the row's settings, checked against the row's hash and scores,
    written with a card, read back and compared. `prunebench.load(path)` loads it.
    """
    from prunebench.engine.in_process import workbench
    from prunebench.export.memory import said_above_imports
    from prunebench.export.rebuild import row_of, save_trial
    from prunebench.export.save import require_suffix

    require_suffix(out)
    row = row_of(db, trial)
    made_on = workbench(db, device=device, plugin_files=plugin_files, disabled=disabled)
    card = save_trial(row, made_on, out, memory)
    if as_json:
        click.echo(json.dumps(card))
        return 0
    click.echo(
        f"{out}: {card['method']} on {card['model']}, {card['file_bytes']:,} bytes, as measured in {card['trial']}"
    )
    click.echo(f"read back: outputs differ by {card['largest_difference']:.2g} at most")
    if memory:
        needed = card["fresh_process"]
        click.echo(
            f"a fresh process needs {needed['peak_bytes']:,} bytes to load it and run {needed['batch']} sample(s), "
            f"{said_above_imports(needed)} above its imports"
        )
    return 0
