"""The desk at which photos of a batch are worked on: opened, restored, written; what each step costs is its own."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sdsr.batch.alive import new_token
from sdsr.batch.items import File
from sdsr.batch.journal import manifest_of
from sdsr.batch.manifest import Manifest, State
from sdsr.batch.model import Model
from sdsr.batch.restoring import Beside
from sdsr.batch.settings import Settings, settings_sha256
from sdsr.batch.walking import Task
from sdsr.errors import SdsrError

if TYPE_CHECKING:
    from sdsr.batch.claims import Claims
    from sdsr.jobs import JobMaker


class LoadingError(Exception):
    """Wraps the error of a model that can't be loaded, which is no photo's."""

    def __init__(self, error: SdsrError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the photos of a batch share while they are worked on; `token` is what its claims are known by."""

    model: Model
    settings: Settings
    beside: Beside | None = None
    token: str = field(default_factory=new_token)
    settings_sha256: str = ""
    loaded: "list[JobMaker]" = field(default_factory=list)
    manifests: dict[Path, Manifest] = field(default_factory=dict)
    claimed: "dict[Path, Claims]" = field(default_factory=dict)
    loading: Lock = field(default_factory=Lock)
    computing: Lock = field(default_factory=Lock)  # jobs of a model are run one after another

    def __post_init__(self) -> None:
        self.settings_sha256 = settings_sha256(self.model, self.settings)

    def maker(self) -> "JobMaker":
        """Return the model, loaded when it is needed first; raise LoadingError where it can't be."""
        with self.loading:
            try:
                if not self.loaded:
                    self.loaded.append(self.model.load())
            except SdsrError as error:
                raise LoadingError(error) from error
            return self.loaded[0]

    def float32_maker(self) -> "JobMaker | None":
        """Return the model in full precision, loaded when it is needed first; None where it is so anyway."""
        if len(self.loaded) == 1:
            maker = self.model.load_float32()
            if maker is not None:
                self.loaded.append(maker)
        return self.loaded[1] if len(self.loaded) > 1 else None

    def manifest(self, root: Path) -> Manifest:
        if root not in self.manifests:
            self.manifests[root] = manifest_of(root)
        return self.manifests[root]

    def claims(self, root: Path) -> "Claims":
        """Return this process's claims on the photos of a folder of results."""
        from sdsr.batch.claims import Claims

        if root not in self.claimed:
            self.claimed[root] = Claims(root, token=self.token)
        return self.claimed[root]

    def needs_nothing(self, task: Task) -> bool:
        """Whether a photo is finished, with all that belongs beside it."""
        if task.root is None or self.manifest(task.root).interrupted(task.result_name):
            return False
        return self.finished(self.state(task)) and (self.beside is None or self.beside.is_there(task))

    def state(self, task: Task) -> State:
        """Return what is known of a task's result, which is in a folder of results."""
        assert task.root is not None
        read = self.settings.on_exists == "verify"
        result = File(task.result, task.result_name)
        return self.manifest(task.root).state(File(task.photo), result, self.settings_sha256, read=read)

    def finished(self, state: State) -> bool:
        return state == "finished" or (state == "another version" and self.settings.on_exists != "replace")

    def close(self) -> None:
        """Leave the folders of results in order for the next run."""
        for manifest in self.manifests.values():
            manifest.close()
        for claims in self.claimed.values():
            claims.remove_abandoned()
            claims.close()
        self.claimed.clear()
