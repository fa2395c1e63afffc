"""The older address of `prunebench.engine.worker`, which is started by name."""
