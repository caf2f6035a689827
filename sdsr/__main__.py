"""`python -m sdsr`, and `accelerate launch -m sdsr`."""

from sdsr.cli.main import main

if __name__ == "__main__":
    main()
