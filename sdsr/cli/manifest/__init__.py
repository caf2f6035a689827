"""The commands about the manifest of a folder of results; see `sdsr.cli.table`."""
