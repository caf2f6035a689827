"""Results ranked by eye without names: lay the sheets, rank them, join the ranking with the key.

python bench/blind.py lay LR RESULTS... --sheets DIR --key KEY.json [--every 5] [--crop 256] [--truth HR] [--seed N]
python bench/blind.py join RANKING KEY.json

`lay` writes a PNG for every fifth photo: the same square of bicubic (made from LR) and of each folder of results, one
pixel for one, in an order of its own, under letters. What the letters stand for is in the key alone, which must lie
elsewhere. Commit the ranking, with the key's sha256 that is printed, before the key. A ranking is JSON
`{"photo": "B A=D C"}`, or CSV with the columns photo and order: best first, = between equals. `join` prints mean places
and on how many photos each stood before each other one.
"""

import argparse
import hashlib
import json
import random
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from sdsr.errors import InputError, OutputError, SdsrError
from sdsr.metrics.comparison import labels_of
from sdsr.metrics.save import check_target, save_image, save_text
from sdsr.metrics.tables import aligned

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.blind_rankings import blind_sheets, read_rankings, standings_lines


def lay(arguments: argparse.Namespace) -> None:
    """Write the sheets and the key; nothing where either is there already."""
    sheets, key = arguments.sheets, arguments.key
    if sheets.resolve() in key.resolve().parents:
        raise InputError(f"key (={key}) lies beside the sheets and would be seen; choose another folder.")
    if sheets.exists() and any(sheets.iterdir()):
        raise OutputError(f"{sheets} holds something; choose a new folder.")
    check_target(key)
    sheets.mkdir(parents=True, exist_ok=True)
    seed = secrets.randbits(64) if arguments.seed is None else arguments.seed
    results = dict(zip(labels_of(arguments.results), arguments.results, strict=True))
    laid = blind_sheets(
        arguments.lq,
        results,
        rng=random.Random(seed),
        every=arguments.every,
        crop_px=arguments.crop,
        truth=arguments.truth,
    )
    letters = {}
    for sheet in laid:
        save_image(sheet.image, sheets / f"{sheet.name}.png")
        letters[sheet.name] = sheet.letters
    content = json.dumps({"seed": seed, "photos": letters}, indent=1) + "\n"
    save_text(content, key)
    print(f"{len(letters)} sheets in {sheets}; sha256 of the key: {hashlib.sha256(content.encode()).hexdigest()}")


def join(arguments: argparse.Namespace) -> None:
    """Print the standings."""
    key = json.loads(arguments.key.read_text())["photos"]
    print(aligned(standings_lines(read_rankings(arguments.ranking.read_text()), key)))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line `argv`, this process's own if None."""
    arguments = parsed(argv)
    try:
        arguments.run(arguments)
    except SdsrError as error:
        raise SystemExit(str(error)) from error


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("lay", help="write sheets and key")
    first.set_defaults(run=lay)
    first.add_argument("lq", type=Path, metavar="LR")
    first.add_argument("results", type=Path, nargs="+")
    first.add_argument("--sheets", type=Path, required=True, help="a new folder")
    first.add_argument("--key", type=Path, required=True, help="a new JSON file, elsewhere")
    first.add_argument("--every", type=int, default=5, help="take every so many-th photo")
    first.add_argument("--crop", type=int, default=256, help="side of the square, px")
    first.add_argument("--truth", type=Path, help="folder of true photos, shown first and named")
    first.add_argument("--seed", type=int, help="of the order; drawn if not given")
    second = commands.add_parser("join", help="print what a ranking says")
    second.set_defaults(run=join)
    second.add_argument("ranking", type=Path)
    second.add_argument("key", type=Path)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
