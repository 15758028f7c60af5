"""`python -m jobs.cli`, where the console script `crew` is not installed."""

from jobs.cli import main

if __name__ == "__main__":
    main()
