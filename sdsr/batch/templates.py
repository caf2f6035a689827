"""Names of results as they are wished: a template such as "{stem}_{size}", to which the format's suffix is added."""

from dataclasses import dataclass
from difflib import get_close_matches
from string import Formatter

from sdsr.errors import InputError

FIELDS = {
    "stem": "the photo's name without suffix",
    "size": "the wanted size, such as x4 or w1920",
    "folder": "the name of the folder that the photo is in",
    "model": "the method's name",
    "seed": "the seed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A name with fields in braces; slashes in it make folders."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Return the template of a text; raise InputError for fields that aren't, and names that can't be."""
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise InputError(f"name (={text}) has unbalanced braces ({error}); try '{{stem}}_{{size}}'.") from error
        fields = [field for _, field, _, _ in parsed if field is not None]
        for field in fields:
            if field not in FIELDS:
                near = get_close_matches(field, FIELDS, n=1)
                meant = f"{{{near[0]}}}" if near else ", ".join(f"{{{name}}}" for name in FIELDS)
                raise InputError(f"name (={text}) has an unknown field (={{{field}}}); try {meant}.")
        if any(format_spec or conversion for _, _, format_spec, conversion in parsed):
            raise InputError(f"name (={text}) formats a field, which takes none; leave out what follows : or !.")
        if "stem" not in fields:
            raise InputError(f"name (={text}) must have {{stem}}, by which results differ; try '{{stem}}_{{size}}'.")
        template = cls(text=text)
        parts = template.parts(dict.fromkeys(FIELDS, "x"))
        if any(not part or part.startswith(".") for part in parts):
            raise InputError(f"name (={text}) must be below its folder and not hidden; try '{{folder}}/{{stem}}'.")
        return template

    def parts(self, values: dict[str, str]) -> list[str]:
        """Return the names that the template makes of values of its fields: folders, then the result's stem."""
        safe = {name: value.replace("/", "_") or "_" for name, value in values.items()}
        return self.text.format(**safe).split("/")
