"""The command `engine`, and `python -m engine`."""

from engine.process import startup


def main() -> None:
    """Run the command; see `engine.process.startup` for what must come before it is even imported."""
    startup.begin()
    from engine.cli import main as command

    command()


if __name__ == "__main__":
    main()
