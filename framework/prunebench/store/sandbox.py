"""`python -m prunebench.store.sandbox`: the process that answers a query, under its older name."""

import runpy

if __name__ == "__main__":
    runpy.run_module("prunebench.store.sealed_child", run_name="__main__", alter_sys=True)
