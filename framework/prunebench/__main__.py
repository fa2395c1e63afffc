"""`python -m prunebench` is `bench`."""


def main() -> None:
    """The command; whenever a Ctrl-C comes, also while half the imports are done, it is one line and exit code 130."""
    try:
        from prunebench import interrupts
    except KeyboardInterrupt:
        import os

        os.write(2, b"bench: interrupted\n")
        os._exit(130)
    with interrupts.ending_at_once():
        from prunebench.cli import main as bench

        with interrupts.noted() as interrupted:
            try:
                bench()
            except SystemExit as ended:
                if interrupted and ended.code not in (0, interrupts.CODE):
                    interrupts.end()
                raise
            except BaseException:
                if interrupted:
                    interrupts.end()
                raise


if __name__ == "__main__":
    main()
