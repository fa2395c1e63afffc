"""The card beside a saved network: what it is, how it was made, what it scored, and the hash that it is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prunebench.errors import CheckpointError
from prunebench.writing import file_sha256

FORMAT = 2
READABLE = (1, 2)  # in the first format no weights are packed


def card_path(path: Path) -> Path:
    """Beside a file, `net.pt2.card.json`; inside a folder, `card.json`."""
    return path / "card.json" if path.is_dir() else path.with_name(f"{path.name}.card.json")


def read_card(path: Path) -> dict[str, Any]:
    """The card of the network at `path`, whose files have the hashes that it names; raises `CheckpointError`."""
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file")
    place = card_path(path)
    try:
        card = json.loads(place.read_text(encoding="utf-8"))
        files = dict(card["files"])
    except FileNotFoundError:
        raise CheckpointError(f"{place} is missing: a saved network is loaded together with its card") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{place} is no card: {type(error).__name__}") from None
    if card.get("format") not in READABLE:
        raise CheckpointError(f"{place} has format {card.get('format')!r}, this prunebench reads up to {FORMAT}")
    folder = path if path.is_dir() else path.parent
    for name, expected in files.items():
        file = folder / (path.name if not path.is_dir() and len(files) == 1 else Path(name).name)
        if not file.is_file():
            raise CheckpointError(f"{file} is missing, the card names it")
        if file_sha256(file) != expected:
            raise CheckpointError(f"{file} is not what was saved: its hash differs from the card's")
    return dict(card)
