"""`python -m crossray.app.cli`: the program where its script is not on the path."""

from crossray.app.cli import main

if __name__ == "__main__":
    main()
