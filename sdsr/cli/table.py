"""The commands and what they do, one module for each; a module is imported when its command is called.

So `sdsr --help` is quick and loads no torch, and a command's module imports what it needs at its top.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import NoReturn

import typer
from typer.core import TyperCommand
from typer.main import get_command

from sdsr.cli.collecting import collect_from_now
from sdsr.cli.groups import spread_groups

COMMANDS = {
    "upscale": "Restore and enlarge photos: one, several, folders with all that is in them, or standard input.",
    "models": "List the methods: paper, steps, and whether their weights are here, how large and under which licence.",
    "compare": "Lay LQ, results and HR side by side, each photo with one region enlarged.",
    "report": "Tell, on a page, how far a restored photo is consistent with its photo and where passes disagree.",
    "serve": "Open the page on this machine: drop a photo, watch it clear up, take it home; and the HTTP API that it "
    "uses.",
    "doctor": "Print versions, devices, embedded and published models, and what is missing for which feature.",
    "train": "Train one stage of a recipe; resumable, killable at any moment.",
    "teach": "Make pairs with a teacher's answers; stopped at any moment, it goes on where it was.",
    "export": "Write a run's trained parts in half precision or 8 bits, ready for `sdsr upscale --model FOLDER`.",
    "convert": "Turn a published checkpoint into parts for `sdsr upscale --model FOLDER`, and tell what is in it.",
    "evaluate": "Measure folders of results against a folder of truths, or alone; photos are matched by name.",
    "degrade": "Show samples of a degradation on a contact sheet, or write one degraded photo.",
}
"""Modules of this package and the first sentence of their functions, which are called like them."""

NEED_METHODS = ("train", "teach", "export", "convert", "evaluate", "degrade")
"""Those of them that need the extra `methods`, as every study does."""

WITH_METHODS = "Commands that need torch: pip install 'sdsr\\[methods]'"
"""What these are listed under."""

STUDIES = {
    "ablation": "Train and score the variants of a table; resumable, killable at any moment.",
    "complexity": "Count the parameters of a method's parts, and the multiply-accumulates (MACs) it takes to restore a "
    "photo.",
    "curves": "Measure the truncated estimate at every time of a method's plan against the truth; plot one or more "
    "methods.",
    "steps": "Restore photos in each number of steps that a method was made for, and score every one.",
    "starts": "Degrade photos in known ways, restore them from each trained start and from the automatic one, and "
    "compare.",
    "fidelity": "Restore photos at fidelities from 0 to 1, and plot how far the results are from the photos enlarged.",
    "tradeoff": "Restore photos once to latents, decode them at each fidelity, and score every fidelity.",
    "modulation": "Plot the cosine similarity of features before and after modulation at each time, and the SFT "
    "features.",
    "discriminator-features": "Show the features of noised photos in diffusion UNets, at several times and in one or "
    "more UNets.",
    "trust": "Correlate clues with true errors, calibrate promises on photos, and check them on others.",
    "similarity": "Compare photos, and degraded and restored versions of the first, with descriptions by CLIP's "
    "cosine.",
}
"""Modules of `study/`, "_" for "-"."""

MANIFEST = {
    "status": "Tell how many results are done, being made, interrupted, missing, or unknown to the manifest.",
    "merge": "Bring the results of other folders and what their manifests say into one, as after `upscale --shard`.",
    "verify": "Read every result and tell those that are missing or not what was written.",
}
"""Modules of `manifest/`."""

ALIASES = {"methods": "models", "complexity": "study complexity"}
"""Other names of a command and of a study."""


def add_commands(app: typer.Typer, table: Mapping[str, str], package: str) -> None:
    """Add the commands of a table, whose modules are in `package`."""
    for name, summary in table.items():
        panel = WITH_METHODS if name in NEED_METHODS else None
        app.command(name, cls=_imported_when_called(package, name), help=summary, rich_help_panel=panel)(_placeholder)


def add_aliases(app: typer.Typer) -> None:
    """Add the hidden names of commands and studies."""
    for alias, words in ALIASES.items():
        app.command(alias, cls=_imported_when_called(*command_of(words)), hidden=True)(_placeholder)


def command_of(words: str) -> tuple[str, str]:
    """Return the package of a command or study as it is typed ("train", "study curves"), and its name there."""
    group, _, name = words.rpartition(" ")
    return (f"sdsr.cli.{group}" if group else "sdsr.cli"), name


def load_command(package: str, name: str) -> TyperCommand:
    """Import a command's module and return the command."""
    plain = name.replace("-", "_")
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    function = getattr(import_module(f"{package}.{plain}"), plain)
    single.command(name, help=_without_line_ends(function.__doc__ or ""))(spread_groups(function))
    command = get_command(single)
    assert isinstance(command, TyperCommand), f"{name} is a command, not a group"
    return command


def _without_line_ends(text: str) -> str:
    """Return a docstring whose paragraphs are one line each, as a terminal has a width of its own."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _imported_when_called(package: str, name: str) -> type[TyperCommand]:
    """Return what stands for a command in the list."""

    class Command(TyperCommand):
        def make_context(self, *args, **keywords):
            context = load_command(package, name).make_context(*args, **keywords)
            collect_from_now()
            return context

    return Command


def _placeholder() -> NoReturn:
    raise AssertionError("the command itself is called")
