"""A command line in a process of its own, to look at what it leaves set."""

REFUSED = """
import sys
from sdsr.cli.main import main
sys.argv = ["sdsr", "upscale", "missing.jpg", "-o", "missing/x.png", "-q"]
try:
    main()
except SystemExit:
    pass
"""
"""Python that runs a command which is refused before anything is loaded."""
