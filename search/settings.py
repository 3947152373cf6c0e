"""What defines a study. It is stored with the study, so a worker anywhere can rebuild it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args, get_origin, get_type_hints

from data_utils import Cleaning, DataSpec
from search.configurations import spelled
from search.errors import SearchError
from search.limits import described
from search.objectives import ONE_OBJECTIVE

# Those that every version has written.
_ALWAYS = ("model", "data_name")

# Fields that change what a trial's value means. Trials of one study must be comparable, so a
# study goes on only with these as they were.
IDENTITY = (
    "model",
    "data_fingerprint",
    "vectors_fingerprint",
    "max_epochs",
    "seed",
    "fixed_params",
    "space",
    "objectives",
    "limits",
)

_ADVICE = {
    "model": "--model",
    "data_fingerprint": "--data and its options",
    "vectors_fingerprint": "--vectors and --dim",
    "max_epochs": "--epochs",
    "seed": "--seed",
    "fixed_params": "--set",
    "space": "version of this program",
    "objectives": "--objectives",
    "limits": "--max-size-mb and --max-latency-ms",
}


@dataclass(frozen=True)
class StudySettings:
    """The definition of a study.

    Attributes:
        model: A key of ``models.MODELS``.
        data: Where the titles come from and how they are cleaned (``asdict`` of a DataSpec).
        data_name: Short name of the data for people.
        data_fingerprint: Digest of the data's content and settings.
        vectors: Path of a word vectors file, or None for skip-gram vectors of the train titles.
        embedding_dim: Width of the word vectors.
        vectors_fingerprint: Digest of the word vectors.
        max_epochs: Most epochs of a trial.
        seed: Seed of the sampler and of training.
        sampler: A key of ``search.strategies.SAMPLERS``.
        pruner: A key of ``search.strategies.PRUNERS``.
        space: Version of the search space: see ``search.spaces.SPACE_VERSIONS``.
        fixed_params: Parameters that all trials have with this value; they are not searched.
        objectives: Keys of ``search.objectives.METRIC_NAMES``, in their order.
        limits: Keys of ``search.limits.UNITS``, each with the most that a network may cost.
    """

    model: str
    data: dict[str, Any]
    data_name: str
    data_fingerprint: str
    vectors: str | None
    embedding_dim: int
    vectors_fingerprint: str
    max_epochs: int
    seed: int
    sampler: str
    pruner: str
    space: int
    fixed_params: dict[str, Any] = field(default_factory=dict)
    objectives: tuple[str, ...] = ONE_OBJECTIVE
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def usual_name(self) -> str:
        """What the study is called if the user names it not, its fixed parameters aside."""
        limits = [f"{limit:g}{name.rpartition('_')[2]}" for name, limit in self.limits.items()]
        most = ["max", *limits] if limits else []
        return "-".join((self.model, self.data_name, *self.objectives[1:], *most))

    def as_dict(self) -> dict[str, Any]:
        """What is stored: of a study with one objective and no limits as before there were any."""
        values = asdict(self)
        if self.objectives == ONE_OBJECTIVE:
            del values["objectives"]
        if not self.limits:
            del values["limits"]
        return values

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: object) -> StudySettings:
        """Read what ``to_json`` wrote.

        Raises:
            SearchError: It was written by another program, or another version of this one.
        """
        stored = stored_settings(text)
        if stored is None:
            raise SearchError(
                "the study was not made by this program; start another with --study NEW_NAME"
            )
        values = {"objectives": ONE_OBJECTIVE, "limits": {}, **stored}
        if set(values) != {field.name for field in fields(cls)}:
            raise SearchError(
                "the study was written by another version of this program; "
                "start a new one with --study NEW_NAME"
            )
        return cls(**{**values, "objectives": tuple(values["objectives"])})

    def data_spec(self) -> DataSpec:
        """Where the titles come from, as the study was started with."""
        return DataSpec(**(self.data | {"cleaning": Cleaning.from_dict(self.data["cleaning"])}))

    def check_continues(self, stored: StudySettings, study_name: str) -> None:
        """Refuse to add trials that could not be compared with those already there.

        Raises:
            SearchError: The settings differ in a field of ``IDENTITY``.
        """
        for name in IDENTITY:
            ours, theirs = getattr(self, name), getattr(stored, name)
            if ours == theirs:
                continue
            if name == "data_fingerprint":
                ours, theirs = f"{self.data_name} ({ours})", f"{stored.data_name} ({theirs})"
            if name == "objectives":
                ours, theirs = (",".join(names) for names in (ours, theirs))
            if name == "limits":
                ours, theirs = (described(limits) or "none" for limits in (ours, theirs))
            if name == "fixed_params":
                ours, theirs = (spelled(params) or "none" for params in (ours, theirs))
            raise SearchError(
                f"study {study_name!r} exists with {name.replace('_', ' ')} {theirs}, not {ours}; "
                f"repeat it with the same {_ADVICE[name]}, or start another with --study NEW_NAME"
            )


def stored_settings(text: object) -> dict[str, Any] | None:
    """The fields that a study has in its storage, of whatever version of this program.

    None if they are another program's: anything may stand under so common a name.
    """
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if not isinstance(values, dict) or not set(_ALWAYS) <= set(values):
        return None
    kinds = {name: kind for name, kind in get_type_hints(StudySettings).items() if name in values}
    return values if all(_is(values[name], kind) for name, kind in kinds.items()) else None


def _is(value: object, kind: Any) -> bool:
    """Whether a value read from JSON is of a field's type."""
    of = get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(isinstance(item, of[0]) for item in value)
    if get_origin(kind) is not dict:
        return isinstance(value, kind)
    if not isinstance(value, dict):
        return False
    return of[1] is Any or all(type(item) in (int, float) for item in value.values())
