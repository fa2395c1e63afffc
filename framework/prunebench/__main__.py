"""`python -m prunebench` is `bench`."""

import signal


def main() -> None:
    """The command; a Ctrl-C before it can answer ends the process without a traceback of half-done imports."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from prunebench.cli import main as bench

    signal.signal(signal.SIGINT, signal.default_int_handler)
    bench()


if __name__ == "__main__":
    main()
