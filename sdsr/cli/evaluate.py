"""`sdsr evaluate`: measure results under a named protocol."""

from pathlib import Path
from typing import Annotated

import typer

from sdsr.cli.measures import chosen_measures
from sdsr.cli.options import Choosing, Features, Json
from sdsr.cli.processors import share_processors
from sdsr.errors import InputError
from sdsr.metrics import report
from sdsr.metrics.anchors import score_anchors
from sdsr.metrics.benchmark import score
from sdsr.metrics.comparison import compare_photos, labels_of
from sdsr.metrics.rank import mean_ranks
from sdsr.metrics.save import check_target, save_image, save_text


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS... [TRUTH]",
            help="Folders of restored photos, then the folder of true photos; a single folder is measured alone.",
        ),
    ],
    alone: Annotated[bool, typer.Option("--alone", help="All folders hold results: only NIQE and grid.")] = False,
    protocol: Annotated[str, typer.Option(help="realisr-y, realisr-y-border4, textbook-y or rgb.")] = "realisr-y",
    perceptual: Annotated[
        list[str] | None, typer.Option(help="Also lpips, dists, maniqa-pipal, musiq, clipiqa ... of pyiqa; repeatable.")
    ] = None,
    features: Features = False,
    choosing: Choosing = False,
    clip: Annotated[
        str | None,
        typer.Option(help="Also CLIP-I by the CLIP in this folder (or small), and with --anchors Delta-CLIP-I."),
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option(help="Folder of LQ photos (a quarter of the size): adds bicubic and film grain rows.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write the figures of each photo there.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table there.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of results and truth there.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
) -> None:
    """Measure folders of results against a folder of truths, or alone; photos are matched by name.

    Several folders of results also get their mean rank over all measures.
    """
    from sdsr.metrics.clip import with_clip, with_gain

    share_processors(jobs)
    unpaired = alone or len(folders) == 1
    results = folders if unpaired else folders[:-1]
    truth = None if unpaired else folders[-1]
    for option, value in (("--anchors", anchors), ("--clip", clip)):
        if value and truth is None:
            raise InputError(f"{option} (={value}) needs the folder of true photos; give it after the results.")
    for target in (csv, markdown, sheet):
        if target:
            check_target(target, overwrite=overwrite, image=target is sheet)
    chosen = chosen_measures(protocol, perceptual, features=features, choosing=choosing)
    chosen = with_clip(chosen, clip) if clip else chosen
    rows = {
        label: score(folder, truth, protocol=chosen, jobs=jobs)
        for label, folder in zip(labels_of(results), results, strict=True)
    }
    ranks = mean_ranks(rows) if len(rows) > 1 else {}
    names = next(iter(rows.values())).names
    beside = score_anchors(anchors, truth, chosen, names=names, jobs=jobs) if anchors and truth else {}
    if clip and beside:
        bicubic = beside["bicubic"]
        rows = with_gain(rows, bicubic)
        beside = with_gain(beside, bicubic)
    table = report.markdown({**rows, **beside}, ranks)
    if csv:
        save_text(report.table_csv(rows), csv)
    if markdown:
        save_text(table, markdown)
    if sheet:
        save_image(compare_photos(results, lq=anchors, truth=truth), sheet)
    typer.echo(report.table_json(rows, beside, ranks) if json else table)
