"""What the commands that measure share: which measures were asked for, and where the figures go."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from sdsr.metrics import report
from sdsr.metrics.benchmark import Scores
from sdsr.metrics.protocol import Protocol, protocol
from sdsr.metrics.save import save_text


def chosen_measures(
    name: str, perceptual: Sequence[str] | None, *, features: bool = False, choosing: bool = False
) -> Protocol:
    """Return the protocol of that name, with the measures that were asked for beside its own."""
    from sdsr.metrics.features import with_features
    from sdsr.metrics.perceptual import with_perceptual

    chosen = with_perceptual(protocol(name), perceptual or [])
    return with_features(chosen, choosing=choosing) if features or choosing else chosen


def print_rows(rows: Mapping[str, Scores], *, csv: Path | None, json: bool) -> None:
    """Print a table, or JSON, and write every photo's figures to a file where one was named."""
    if csv:
        save_text(report.table_csv(rows), csv)
    typer.echo(report.table_json(rows) if json else report.markdown(rows))
