"""`make fuzz`: mutated inputs for everything that reads bytes of strangers (docs/fuzz.md)."""

from tests.fuzz.command import main

if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")
