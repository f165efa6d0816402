"""`python -m engine.cli` is `engine`."""

from engine.cli import main

main()
