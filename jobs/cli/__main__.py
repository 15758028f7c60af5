"""Run the command line without the installed program `crew`: `python -m jobs.cli`."""

from jobs.cli import main

if __name__ == "__main__":
    main()
