"""What a rebuilding must not change, recorded: sizes, names of published weights, pixels, losses.

`python -m tests.recorded check` compares everything with this tree, `write` records it anew; README.md tells more.
"""
