"""Why a result is made again, in the words of its line, and the errors where it may not be."""

from sdsr.batch.manifest import Manifest, State
from sdsr.batch.settings import OnExists
from sdsr.batch.walking import Task
from sdsr.errors import OutputError


def reason(state: State, task: Task, manifest: Manifest, on_exists: OnExists) -> str | None:
    """Return why a task's result of this state is made again; None where there is none, or it is finished.

    Raises OutputError where it may not be.
    """
    begun = manifest.interrupted(task.result_name)
    match state:
        case "not ours" if on_exists != "replace":
            raise exists(task.result)
        case "not ours":
            return "it was not known as ours"
        case "cut off":
            return "it was cut off before it was noted"
        case "missing":
            return None if begun else "its result was gone"
        case "another photo":
            return "the photo changed"
        case "another version":
            return "another version made it"
        case "other settings" if manifest.noted_since(task.result_name):
            raise OutputError(
                f"{task.result} was made by another process just now, by other settings or weights; give each its own "
                "folder, or stop one of them."
            )
        case "other settings":
            return "settings or weights changed"
        case "changed" if begun:
            return "it was being replaced"
        case "changed" if on_exists != "skip":
            return "its result changed"
        case "changed":
            raise OutputError(
                f"{task.result} exists already, and isn't what was written there; choose --on-exists verify or replace "
                "to make it again, or another folder."
            )
    return None


def exists(place: object) -> OutputError:
    """Return the error of a result's place that is taken by what isn't known."""
    return OutputError(f"{place} exists already; choose another name or folder, or say --on-exists replace.")
