"""Options in groups: a command takes a dataclass, and the command line its fields, each an option of its own.

A group is a parameter like `options: Options`, whose fields are annotated as Typer's parameters are, or
`options: Annotated[Options, "Panel"]`, which `--help` shows in a panel.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Annotated, get_args


def spread_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command as Typer reads it: with the fields of its groups for parameters."""
    groups: dict[str, type] = {}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        kind, *panel = get_args(parameter.annotation) or [parameter.annotation]
        if isinstance(kind, type) and is_dataclass(kind):
            groups[name] = kind
            parameters += [_in_panel(option, *panel) for option in signature(kind).parameters.values()]
        else:
            parameters.append(parameter)

    def spread(**values: object) -> None:
        grouped = {
            name: kind(**{each.name: values.pop(each.name) for each in fields(kind)}) for name, kind in groups.items()
        }
        command(**values, **grouped)

    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    spread.__dict__["__signature__"] = Signature(parameters)
    return spread


def _in_panel(option: Parameter, panel: str | None = None) -> Parameter:
    kind, told = get_args(option.annotation)
    told = copy(told)
    told.rich_help_panel = panel
    return option.replace(annotation=Annotated[kind, told])
