"""`python -m reflfap` is the same as `reflfap`."""

from reflfap.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
