"""`sdsr evaluate`: measure results under a named protocol."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    results: Annotated[Path, typer.Argument(help="Folder of restored photos.")],
    truth: Annotated[Path | None, typer.Argument(help="Folder of true photos; without it, only NIQE and grid.")] = None,
    protocol: Annotated[str, typer.Option(help="realisr-y, realisr-y-border4, textbook-y or rgb.")] = "realisr-y",
    perceptual: Annotated[
        list[str] | None, typer.Option(help="Also lpips, dists, maniqa-pipal, musiq, clipiqa ... of pyiqa; repeatable.")
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option(help="Folder of LQ photos (a quarter of the size): adds bicubic and film grain rows.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the figures of each photo there.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table there.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of results and truth there.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
) -> None:
    """Measure a folder of results against a folder of truths, or alone; photos are matched by name."""
    from sdsr.errors import InputError
    from sdsr.evaluation import report
    from sdsr.evaluation.anchors import score_anchors
    from sdsr.evaluation.benchmark import score
    from sdsr.evaluation.comparison import compare_photos
    from sdsr.evaluation.perceptual import with_perceptual
    from sdsr.evaluation.protocol import protocol as protocol_named
    from sdsr.evaluation.save import check_target, save_image, save_text

    if anchors and truth is None:
        raise InputError(f"--anchors (={anchors}) needs the folder of true photos; give it after the results.")
    for target in (csv, markdown, sheet):
        if target:
            check_target(target, overwrite=overwrite, image=target is sheet)
    chosen = with_perceptual(protocol_named(protocol), perceptual or [])
    scores = score(results, truth, protocol=chosen, jobs=jobs)
    beside = score_anchors(anchors, truth, chosen, names=scores.names, jobs=jobs) if anchors and truth else {}
    table = report.markdown({results.name or str(results): scores, **beside})
    if csv:
        save_text(report.table_csv(scores), csv)
    if markdown:
        save_text(table, markdown)
    if sheet:
        save_image(compare_photos([results], lq=anchors, truth=truth), sheet)
    typer.echo(report.table_json(scores, beside) if json else table)
