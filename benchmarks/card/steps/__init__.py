"""A module a step, each with a function `run(record)`."""
