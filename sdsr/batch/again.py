"""Why a result is made again, in the words of its line, and the errors where it may not be."""

from sdsr.errors import OutputError

GONE = "its result was gone"
ANOTHER_PHOTO = "the photo changed"
OTHER_SETTINGS = "settings or weights changed"
ANOTHER_VERSION = "another version made it"
RESULT_CHANGED = "its result changed"


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
