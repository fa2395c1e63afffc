"""`python -m prunebench.measure.round`: one round of timing in a fresh process, under its older name."""

import runpy

if __name__ == "__main__":
    runpy.run_module("prunebench.measure.latency.one_round", run_name="__main__", alter_sys=True)
