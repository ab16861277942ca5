"""Studies: variants of a training, each trained with several seeds, scored alike and compared.

A YAML file names the training that all begin from, what all share, and the settings of each
variant by dotted keys. What is trained and scored already is not done again, a training that was
stopped goes on. The first variant is what the others are compared with, seed by seed, and which
else is said by `against`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sr3d_core.choices import one_of
from sr3d_core.config import Config
from sr3d_core.mistakes import sentences
from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_core.study.before import (
    Pretrainings,
    pretrained_weights,
    put,
)
from sr3d_core.study.crossed import crossed
from sr3d_core.study.kinds import KINDS, Reference, Trains
from sr3d_core.study.processes import StudyError
from sr3d_core.training.folder import WEIGHTS

_BEGINS = ("preset", "config")
STARTS_FROM, SEARCHED_AS, TAUGHT_BY = "starts_from", "searched_as", "taught_by"
_NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings that are tried before the trainings; see `before.py`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    tries: tuple[dict[str, Any], ...]
    """What each of them changes, by dotted key."""
    size: str | None = None
    """Of the `sizes` the one that is searched with, for all sizes."""
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.tries:
            raise ValueError("search.tries: none, expected settings to choose from")


@dataclass(frozen=True, kw_only=True)
class Study:
    """The settings that all variants share, and those of each."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    variants: dict[str, dict[str, Any]]
    """What each changes, by dotted key; a value replaces all that stands below its key. `preset`
    or `config` among the keys: it begins from another training. `starts_from`: one of the
    `pretrainings`, whose weights of the same seed it starts with. `taught_by`: one of them that
    teaches it. `searched_as`: a variant whose search says what else changes."""
    trains: Trains = "train"
    """The command that trains: `sr3d train`, or `sr3d distill`, which may begin from neither a
    preset nor a file."""
    preset: str | None = None
    """The training that ships from which all begin."""
    config: Path | None = None
    """Or its YAML file."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What all of them change."""
    data: tuple[str, ...] = ("rooms",)
    """Scenes to score on, each as `--data` of `sr3d eval` says it."""
    split: str = "val"
    """Which of these scenes."""
    num: int = 600
    """At most so many of each."""
    seeds: int = 1
    """Every variant is trained with the seeds 1 to this one."""
    seeds_of: dict[str, int] = field(default_factory=dict)
    """The same for single variants."""
    tests: int = 1
    """How often each training is tested, the first time on points as they come, then on others
    at random (`evaluate_tests`). The published protocol is 5 seeds and 5 tests."""
    against: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Variants that are compared with others beside the first one: `simota: [spota]`."""
    baselines: dict[str, str] = field(default_factory=dict)
    """Variants that are compared with another one in the place of the first."""
    seed_keys: tuple[str, ...] = ("schedule.seed",)
    """Keys that are the seed, such as which scenes are labelled."""
    pretrainings: Pretrainings = field(default_factory=Pretrainings)
    search: Search | None = None
    """What is tried for each variant that another one, or itself, is `searched_as`."""
    references: dict[str, Reference] = field(default_factory=dict)
    """What is scored beside the variants, on the same scenes, and not trained for it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, by name."""
        KINDS[self.trains].check(self.preset, self.config, self.tests)
        if not self.variants:
            raise ValueError("variants: none, expected at least one")
        odd = [name for name in self.variants if not _NAME.fullmatch(name)]
        if odd:
            raise ValueError(
                f"variants: {odd[0]!r} names a folder; expected letters, digits and . _ + -"
            )
        unknown = [name for name in self.seeds_of if name not in self.variants]
        if unknown:
            raise ValueError(f"seeds_of: no variant {unknown[0]!r}")
        for name, others in self.against.items():
            unknown = [each for each in (name, *others) if each not in self.variants]
            if unknown or name in others:
                raise ValueError(
                    f"against: {name}: {', '.join(others)}; expected names of other variants"
                )
        unknown = [
            each for pair in self.baselines.items() for each in pair if each not in self.variants
        ]
        if unknown:
            raise ValueError(f"baselines: no variant {unknown[0]!r}")
        self._check_before()
        if not self.data or min(self.num, self.seeds, self.tests, *self.seeds_of.values()) < 1:
            raise ValueError("data, num, seeds and tests: expected at least one each")

    def _check_before(self) -> None:
        """Refuse pre-trainings and searches that are not there."""
        known = {*self.pretrainings.methods, *self.pretrainings.labelled}
        for name, own in self.variants.items():
            other = own.get(SEARCHED_AS)
            for key in KINDS[self.trains].weights:
                start = own.get(key)
                if start is not None and start not in known:
                    raise ValueError(
                        f"variant {name}: {key}: no pre-training {start!r}, expected one of "
                        f"{', '.join(sorted(known)) or 'those in pretrainings, which has none'}"
                    )
            if other is not None and (other not in self.variants or self.search is None):
                raise ValueError(
                    f"variant {name}: {SEARCHED_AS}: {other!r}; expected a variant, and a search"
                )
        for name, reference in self.references.items():
            reference.check(name, self.variants, self.pretrainings.labelled)

    @classmethod
    def read(cls, path: Path) -> Study:
        """From a YAML file; raises StudyError naming the file and the key."""
        try:
            tree = read_yaml(path, "a study in YAML")
            return TypeAdapter(cls).validate_python(
                crossed(tree) if isinstance(tree, dict) else tree
            )
        except StudyError as error:
            raise StudyError(f"{path}: {error}") from error
        except YamlError as error:
            raise StudyError(str(error)) from error
        except ValidationError as error:
            raise StudyError(f"{path}: {sentences(error, cls)}") from error

    @property
    def first(self) -> str:
        """The variant that the others are compared with."""
        return next(iter(self.variants))

    def chosen(self, names: Sequence[str]) -> list[str]:
        """These variants in their order, with those that they are compared with; none: all."""
        for name in names:
            one_of("variant", name, self.variants)
        others = {other for name in names for other in self.compared_with(name)}
        wanted = {*names, *others} if names else set(self.variants)
        return [name for name in self.variants if name in wanted]

    def compared_with(self, name: str) -> list[str]:
        """What a variant is compared with, the first one before others."""
        others = (self.baselines.get(name, self.first), *self.against.get(name, ()))
        return [each for each in dict.fromkeys(others) if each != name]

    def sharing(self, changes: Mapping[str, Any]) -> Study:
        """The same study with further changes that all variants share."""
        return replace(self, shared={**self.shared, **changes})

    def tree(
        self,
        name: str,
        seed: int,
        out: Path = Path(),
        found: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The whole configuration of one training below `out`, as plain values.

        `found` is what a search found for it, by dotted key.
        """
        own = dict(self.variants[name])
        begins = {key: own.pop(key) for key in _BEGINS if key in own}
        own.pop(SEARCHED_AS, None)
        if len(begins) > 1:
            raise StudyError(f"variant {name}: preset and config, expected one of the two")
        for word, key in KINDS[self.trains].weights.items():
            start = own.pop(word, None)
            if start is not None:
                own = {key: str(self.weights_of(start, seed, out)), **own}
        changes = {**own, **(found or {}), **dict.fromkeys(self.seed_keys, seed)}
        return self._changed(begins, changes, f"variant {name}")

    def _changed(
        self, begins: Mapping[str, Any], own: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        """The training that all begin from, or another one, with what all share and changes."""
        preset, config = (
            (begins.get("preset"), begins.get("config")) if begins else (self.preset, self.config)
        )
        tree = KINDS[self.trains].tree(preset, config)
        changes = {**self.shared, **own}
        for key, value in changes.items():
            put(tree, key, deepcopy(value), where)
        if "schedule.num_steps" in changes and "schedule.epochs" not in changes:
            tree["schedule"].pop("epochs", None)  # of the preset, which would win over the steps
        return dict(tree)

    def weights_of(self, pretraining: str, seed: int, out: Path) -> Path:
        """Where the weights of a pre-training are once it is done."""
        if pretraining in self.pretrainings.methods:
            return pretrained_weights(out, pretraining, seed)
        return labelled_folder(out, pretraining, seed) / WEIGHTS

    def needed_by(self, name: str) -> list[str]:
        """The pre-trainings that must be done before a variant is trained."""
        own = self.variants[name]
        return [own[key] for key in KINDS[self.trains].weights if own.get(key) is not None]

    def labelled_tree(self, pretraining: str, seed: int) -> dict[str, Any]:
        """The whole configuration of a pre-training that knows labels."""
        own = {**self.pretrainings.labelled[pretraining], "schedule.seed": seed}
        return self._changed({}, own, f"pretrainings: {pretraining}")

    def parsed(self, name: str, seed: int = 1) -> Config:
        """The same, checked; raises ConfigError naming the variant and the key."""
        return self.parse(self.tree(name, seed), f"variant {name}")

    def parse(self, tree: Mapping[str, Any], where: str) -> Config:
        """A configuration of what this study trains; raises ConfigError."""
        return KINDS[self.trains].parse(tree, where)

    def trainings(self, names: Sequence[str], seeds: int | None = None) -> list[tuple[str, int]]:
        """Variant and seed of all trainings, the first seed of every variant first."""
        counts = {name: seeds or self.seeds_of.get(name, self.seeds) for name in names}
        last = max(counts.values())
        return [
            (name, seed) for seed in range(1, last + 1) for name in names if seed <= counts[name]
        ]


def labelled_folder(out: Path, pretraining: str, seed: int) -> Path:
    """The folder of a pre-training that knows labels."""
    return out / f"pretrained-{pretraining}-{seed}"
