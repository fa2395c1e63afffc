"""Reads the text of a grid file into the parts of a `Grid`; a `GridError` names the place of a fault."""

from __future__ import annotations

import contextlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prunebench.errors import GridError
from prunebench.grid.axes import UnknownKeys, axis, check_keys, key_name, tables, unknown_keys_together
from prunebench.grid.blocks import Block, Entry, Exclusion
from prunebench.grid.protocols import protocols_from, run_options
from prunebench.grid.recipes import named_recipes
from prunebench.records import NAME, Value
from prunebench.writing import short

FILE_LIMIT_BYTES = 1_000_000
SEED_LIMIT = 2**63
DEFAULT_SEEDS = [0, 1, 2]  # one seed has no spread: a difference may be chance
TABLES = ("arguments",)  # fields whose value is a table, of which nothing is swept but the whole
BLOCK_KEYS = ("dataset", "model", "seed", "method", "exclude")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no folder on Windows can be called so
TOP_KEYS = ("name", "title", "scale", "protocol", "run", "block", "claim")


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and the SQL that checks it after the run."""

    text: str
    sql: str
    why: str = ""


def text_of(path: Path) -> str:
    """The file's text; a byte order mark is accepted."""
    try:
        if path.is_dir():
            raise GridError(f"{path} is a folder, not a grid file")
        if not path.is_file():
            path.stat()  # where it is not there
            raise GridError(f"{path} is not a regular file, so it cannot be a grid file")
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)  # a file may grow while it is read
        if len(data) > FILE_LIMIT_BYTES:
            raise GridError(f"{path} has {path.stat().st_size:,} bytes; a grid file may have {FILE_LIMIT_BYTES:,}")
    except (FileNotFoundError, ValueError):  # a name that holds NUL is no file's
        raise GridError(f"no grid file at {path}") from None
    except OSError as error:
        raise GridError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise GridError(f"{path} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None


def table_of(text: str, source: str) -> dict[str, Any]:
    """The parsed TOML; a syntax error names `source:line:column`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        reason = str(error).split(" (at ")[0]
        where = f"{source}:{place[1]}:{place[2]}" if place else source
        raise GridError(f"{where}: {reason[:1].lower()}{reason[1:]}") from None
    except RecursionError:
        raise GridError(f"{source}: too deeply nested") from None
    except ValueError as error:
        digits = "a number is too large" if "digits" in str(error) else str(error)
        raise GridError(f"{source}: {digits}") from None


class Reader:
    """Turns the parsed TOML into records; collects warnings on the way."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def parts(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        """What `Grid` is made of; `name` is used where the table gives none."""
        if not table:
            raise GridError("the file is empty: a grid needs at least one [[block]]")
        try:
            with unknown_keys_together():
                return self._parts(table, name)
        except UnknownKeys as error:
            raise UnknownKeys(str(error), self._readable(table.get("block"))) from None

    def _readable(self, tables: Any) -> tuple[Block, ...]:
        """The blocks with the entries that can be read, whatever else is wrong with them."""
        found = []
        for table in tables if isinstance(tables, list) else ():
            axes: dict[str, tuple[Entry, ...]] = {kind: () for kind in ("dataset", "model", "method")}
            for kind in axes:
                with contextlib.suppress(GridError, TypeError, KeyError):
                    axes[kind] = self._entries(table[kind], kind, "")
            found.append(Block(axes["dataset"], axes["model"], axes["method"], ()))
        return tuple(found)

    def _parts(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        check_keys(table, TOP_KEYS, "the grid")
        protocols, options = (
            protocols_from(table.get("protocol", {}), self.warnings.append),
            run_options(table.get("run", {})),
        )
        name = table.get("name", name)
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith(".") or RESERVED.fullmatch(name):
            raise GridError(
                f"name {short(name)} is not allowed: use {NAME.pattern}; it must not end in a dot "
                "or be a Windows device name such as con"
            )
        blocks = table.get("block", [])
        if isinstance(blocks, dict):
            raise GridError("[block] is one table: write [[block]], there may be several")
        if not isinstance(blocks, list) or not blocks:
            raise GridError("no [[block]]: 0 trials")
        return dict(
            name=name,
            blocks=self._blocks(blocks),
            protocol=protocols[0],
            variants=protocols[1:],
            recipes=named_recipes(table.get("protocol")),
            options=options,
            claims=tuple(_claim(claim, i + 1) for i, claim in enumerate(_listed(table, "claim", "the grid"))),
            scale=str(table.get("scale", "")),
            title=str(table.get("title", "")),
            warnings=tuple(self.warnings),
        )

    def _blocks(self, tables: list[Any]) -> tuple[Block, ...]:
        """All blocks. The keys of all are checked first, so that one error names every misspelt key."""
        named = [(f"block {number}", table) for number, table in enumerate(tables, 1)]
        for where, table in named:
            if not isinstance(table, dict):
                raise GridError(f"{where}: must be a table [[block]], got {short(table)}")
            check_keys(table, BLOCK_KEYS, where)
        return tuple(self._block(table, where) for where, table in named)

    def _block(self, table: dict[str, Any], where: str) -> Block:
        for key in ("dataset", "model", "method"):
            if key not in table:
                raise GridError(f"{where}: no {key}; a block needs dataset, model and method")
        return Block(
            datasets=self._entries(table["dataset"], "dataset", where),
            models=self._entries(table["model"], "model", where),
            methods=self._entries(table["method"], "method", where),
            seeds=self._seeds(table.get("seed", DEFAULT_SEEDS), where),
            exclusions=tuple(self._exclusion(rule, where) for rule in _listed(table, "exclude", where)),
        )

    def _entries(self, value: Any, kind: str, where: str) -> tuple[Entry, ...]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise GridError(f"{where}: axis {kind} is empty: 0 trials")
        return tuple(self._entry(item, kind, f"{where}, {kind}") for item in values)

    def _entry(self, value: Any, kind: str, where: str) -> Entry:
        if isinstance(value, str):
            return Entry(self._name(value, where), {})
        if not isinstance(value, dict):
            raise GridError(f'{where}: expected a name or {{ use = "name", … }}, got {short(value)}')
        if "pipeline" in value and kind == "method":
            return self._pipeline(value, where)
        if "use" not in value:
            raise GridError(f"{where}: {short(value)} has no `use`")
        use = self._name(value["use"], where)
        axes = {
            key: self._axis(item, f"{where} {use}, {key_name(key)}", key in TABLES)
            for key, item in value.items()
            if key != "use"
        }
        return Entry(use, axes)

    def _pipeline(self, value: dict[str, Any], where: str) -> Entry:
        check_keys(value, ("pipeline",), where)
        stages = value["pipeline"]
        if not isinstance(stages, list) or not stages:
            raise GridError(f"{where}: a pipeline is a list of methods, got {short(stages)}")
        return Entry("pipeline", {}, tuple(self._entry(stage, "stage", where) for stage in stages))

    def _name(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value or len(value) > 200:
            raise GridError(f"{where}: expected a plugin's name, got {short(value)}")
        return value

    def _axis(self, value: Any, where: str, is_table: bool = False) -> tuple[Value, ...]:
        values, doubled = tables(value, where) if is_table else axis(value, where)
        if doubled:
            self.warnings.append(f"{where}: {doubled} duplicate value(s) left out")
        return values

    def _seeds(self, value: Any, where: str) -> tuple[int, ...]:
        seeds = self._axis(value, f"{where}, seed")
        for seed in seeds:
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEED_LIMIT:
                raise GridError(f"{where}: a seed is an integer in [0, 2^63), got {short(seed)}")
        return cast("tuple[int, ...]", seeds)

    def _exclusion(self, rule: Any, where: str) -> Exclusion:
        if not isinstance(rule, dict) or not isinstance(rule.get("why"), str) or len(rule) < 2:
            example = '{ method = "cp", model = "large_fcn", why = "no convolution" }'
            raise GridError(f"{where}: an exclusion looks like {example}, got {short(rule)}")
        match = {key: self._axis(value, f"{where}, exclude {key}") for key, value in rule.items() if key != "why"}
        return Exclusion(rule["why"], match)


def _listed(table: dict[str, Any], key: str, where: str) -> list[Any]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise GridError(f"{where}: {key} is a list of tables, got {short(value)}")
    return value


def _claim(table: Any, number: int) -> Claim:
    where = f"claim {number}"
    if not isinstance(table, dict):
        raise GridError(f"{where}: must be a table [[claim]], got {short(table)}")
    check_keys(table, ("text", "sql", "why"), where)
    for key in ("text", "sql"):
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise GridError(f"{where}: no {key}")
    return Claim(table["text"], table["sql"], str(table.get("why", "")))
