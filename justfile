# `just` lists the recipes.
default:
    @just --list

# Install for development.
install:
    pip install -e '.[dev]'

# The tests, as the README and CI run them.
test *arguments:
    pytest {{arguments}}

# Style and types.
lint:
    ruff check .
    ruff format --check .
    mypy

# Fix what can be fixed.
format:
    ruff check --fix .
    ruff format .

# A first look: about a minute.
quickstart:
    bench run --grid grids/quickstart.toml

# Look for bytes that break the readers of grids and journals: about a minute. Needs `pip install -e '.[fuzz]'`.
fuzz seconds="30":
    python fuzz/fuzz_grid.py -max_total_time={{seconds}}
    python fuzz/fuzz_journal.py -max_total_time={{seconds}}

# An hour of tiny trials under random faults.
soak minutes="60":
    python benchmarks/soak.py --minutes {{minutes}}

# The documentation as a site, in site/.
docs:
    mkdocs build --strict
