"""The older address of `prunebench.trial.runner`, which executors and clusters name as text."""

from prunebench.trial.runner import open_workbench

__all__ = ["open_workbench"]
