"""`python -m prunebench.worker`: the worker under its older name."""

import runpy

runpy.run_module("prunebench.engine.worker", run_name="__main__", alter_sys=True)
