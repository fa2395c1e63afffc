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

# Mend what can be mended.
format:
    ruff check --fix .
    ruff format .

# A first look: about a minute.
quickstart:
    bench run --grid grids/quickstart.toml
