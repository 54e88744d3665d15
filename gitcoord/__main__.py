"""`python -m gitcoord`."""

from gitcoord.cli import main

if __name__ == "__main__":
    main()
