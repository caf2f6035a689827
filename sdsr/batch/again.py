"""Why a result is made again, in the words of its line, and the errors where it may not be."""

from sdsr.batch.manifest import State
from sdsr.batch.settings import OnExists
from sdsr.errors import OutputError

GONE = "its result was gone"
ANOTHER_PHOTO = "the photo changed"
OTHER_SETTINGS = "settings or weights changed"
ANOTHER_VERSION = "another version made it"
RESULT_CHANGED = "its result changed"


def reason(state: State, place: object, *, on_exists: OnExists, begun: bool, noted_since: bool) -> str | None:
    """Return why a result of this state is made again; None where there is none, or it is finished.

    `begun`: it was never noted as done; `noted_since`: a process noted it after this one began. Raises OutputError
    where it may not be.
    """
    match state:
        case "missing":
            return None if begun else GONE
        case "another photo":
            return ANOTHER_PHOTO
        case "another version":
            return ANOTHER_VERSION
        case "other settings" if noted_since:
            raise contested(place)
        case "other settings":
            return OTHER_SETTINGS
        case "changed" if begun:
            return "it was being replaced"
        case "changed" if on_exists != "skip":
            return RESULT_CHANGED
        case "changed":
            raise changed(place)
    return None


def exists(place: object) -> OutputError:
    """Return the error of a result's place that is taken by what isn't known."""
    return OutputError(f"{place} exists already; choose another name or folder, or say --on-exists replace.")


def changed(place: object) -> OutputError:
    """Return the error of a result that isn't what was written."""
    return OutputError(
        f"{place} exists already, and isn't what was written there; choose --on-exists verify or replace to make it "
        "again, or another folder."
    )


def contested(place: object) -> OutputError:
    """Return the error of a result that another process made just now, by other settings or weights."""
    return OutputError(
        f"{place} was made by another process just now, by other settings or weights; give each its own folder, or "
        "stop one of them."
    )
