"""`python -m ignite_vision`: the same as the `ignite-vision` command."""

from ignite_vision.cli import main

if __name__ == "__main__":
    main()
