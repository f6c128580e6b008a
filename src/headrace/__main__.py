"""`python -m headrace`: the command line, where no script of that name is on the path."""

from headrace.cli.start import main

if __name__ == "__main__":
    main()
