"""Studies: variants of a training, each trained with several seeds, scored alike and compared.

A YAML file names the training that all begin from, what all share, and the settings of each
variant by dotted keys. What is trained and scored already is not done again, a training that was
stopped goes on. The first variant is what the others are compared with, seed by seed, and which
else is said by `against`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sr3d_core.checkpoint import weights_file
from sr3d_core.choices import one_of
from sr3d_core.config import Config, Evaluation, flat_config
from sr3d_core.data.sources import source_of
from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_core.study_before import (
    NEVER_BEFORE_THE_END,
    Pretrainings,
    best_of,
    last_figures,
    pretrain_apart,
    pretrained_weights,
    probe_apart,
    put,
)
from sr3d_core.study_crossed import crossed
from sr3d_core.study_kinds import KINDS, Reference, Trains, digest
from sr3d_core.study_processes import Start, StudyError, children, run_apart
from sr3d_core.study_scores import OpenScenes, Rules, Scores, identity, score
from sr3d_core.training.folder import STATE, WEIGHTS
from sr3d_core.whole_files import write_whole

TRAINED = "trained.txt"
"""In the folder of a training that is done: the digest of its weights."""
_BEGINS = ("preset", "config")
STARTS_FROM, SEARCHED_AS, TAUGHT_BY = "starts_from", "searched_as", "taught_by"
_NAME = re.compile(r"[\w.+-]+")
_NOT_LEARNT_FROM = ("evaluation.", "schedule.num_workers", "schedule.checkpoint_minutes")


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings that are tried before the trainings; see `study_before`."""

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
            mistakes = "; ".join(map(_sentence, error.errors()))
            raise StudyError(f"{path}: {mistakes}") from error

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


def _sentence(mistake: Any) -> str:
    if "error" in mistake.get("ctx", {}):
        return str(mistake["ctx"]["error"])
    where = ".".join(map(str, mistake["loc"])) or "top level"
    return f"{where}: {mistake['msg']}"


@dataclass(frozen=True)
class Outcome:
    """What a study has found so far."""

    study: Study
    scores: dict[str, dict[int, dict[str, tuple[Scores, ...]]]]
    """By variant, seed and data, one of each test."""
    failures: tuple[str, ...]  # what went wrong with the trainings that are missing
    probes: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of each seed what the probe says of each pre-training: rows of `sr3d model probe`."""
    searched: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the search found for variants that were searched."""
    references: dict[str, dict[int, dict[str, tuple[Scores, ...]]]] = field(default_factory=dict)
    """What is not trained for the study: as `scores`."""


def run_study(
    study: Study,
    out: Path,
    open_scenes: OpenScenes,
    *,
    names: Sequence[str] = (),
    seeds: int | None = None,
    processes: int = 1,
    device: str = "auto",
    on_done: Callable[[int, int, str], None] = lambda num_done, num, name: None,
) -> Outcome:
    """Train and score what is missing below `out`, so many trainings at a time.

    Everything is read and checked before the first training starts: raises ValueError where a
    variant, a configuration or a folder of scenes is not as it should be. A training that fails
    does not stop the others; what went wrong is in the outcome. `on_done` is told how many of how
    many trainings are done, and which one is.
    """
    chosen = study.chosen(names)
    scenes = _check(study, chosen)
    trainings = study.trainings(chosen, seeds)
    for name, seed in trainings:
        if SEARCHED_AS not in study.variants[name]:
            check_same(out / f"{name}-{seed}", study.tree(name, seed, out), study.trains)
    scores: dict[str, dict[int, dict[str, tuple[Scores, ...]]]] = {name: {} for name in chosen}
    failures: dict[tuple[str, int], str] = {}
    measure = _Measure(study, scenes, open_scenes, device)
    threads = max(1, (os.cpu_count() or 1) // processes)
    with children() as start, _pool(processes) as pool:
        tasks = _Tasks(study, out, pool, start, {"OMP_NUM_THREADS": str(threads)})
        running = {done: at for at, done in tasks.submit(trainings).items()}
        for num_done, done in enumerate(as_completed(running), start=1):
            name, seed = running[done]
            try:
                done.result()
                folder = out / f"{name}-{seed}"
                scores[name][seed] = measure.trained(name, folder)
            except (ValueError, OSError, RuntimeError) as error:
                failures[name, seed] = _named(f"{name}-{seed}", str(error))
            on_done(num_done, len(trainings), f"{name}-{seed}")
        texts = [failures[key] for key in trainings if key in failures]
        probes = tasks.probes(texts)
    references = measure.references(out, trainings, texts)
    in_order = {name: dict(sorted(found.items())) for name, found in scores.items()}
    return Outcome(study, in_order, tuple(texts), probes, tasks.searched(), references)


class _Tasks:
    """What is to be done, in an order in which nothing waits for what has not begun.

    Threads take tasks in this order, so one that waits for another cannot keep it from running.
    """

    def __init__(
        self,
        study: Study,
        out: Path,
        pool: ThreadPoolExecutor,
        start: Start,
        environment: Mapping[str, str],
    ) -> None:
        self._study, self._out, self._pool = study, out, pool
        self._start, self._environment = start, environment
        self._pretrained: dict[tuple[str, int], Future[None]] = {}
        self._tried: dict[str, list[Future[tuple[float, float]]]] = {}
        self._probed: dict[int, Future[dict[str, Any]]] = {}

    def submit(self, trainings: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Future[None]]:
        """Begin with all that these trainings need, then they themselves, then the probes."""
        variants, search = self._study.variants, self._study.search
        searched = [variants[name].get(SEARCHED_AS) for name, _ in trainings]
        searches = list(dict.fromkeys(name for name in searched if name is not None))
        needed = [*((name, search.seed) for name in searches if search), *trainings]
        for name, seed in needed:
            for start in self._study.needed_by(name):
                if (start, seed) not in self._pretrained:
                    task = self._pool.submit(self._pretrain, start, seed)
                    self._pretrained[start, seed] = task
        for name in searches:
            tries = range(len(search.tries) if search else 0)
            self._tried[name] = [self._pool.submit(self._try, name, each) for each in tries]
        found = {at: self._pool.submit(self._train, *at) for at in trainings}
        if self._study.pretrainings.probe is not None:
            for seed in sorted({seed for _, seed in self._pretrained}):
                self._probed[seed] = self._pool.submit(self._probe, seed)
        return found

    def searched(self) -> dict[str, dict[str, Any]]:
        """What was found for each variant that was searched to its end."""
        whole = [
            name
            for name, tries in self._tried.items()
            if all(each.done() and not each.cancelled() and not each.exception() for each in tries)
        ]
        return {name: self._found(name) for name in whole}

    def probes(self, failures: list[str]) -> dict[int, dict[str, Any]]:
        """What the probe says of the pre-trainings of each seed; adds what went wrong."""
        rows = {}
        for seed, task in self._probed.items():
            try:
                rows[seed] = task.result()
            except (ValueError, OSError, RuntimeError) as error:
                failures.append(_named(f"probe of seed {seed}", str(error)))
        return rows

    def _pretrain(self, name: str, seed: int) -> None:
        how = (self._study.trains, self._environment, self._start)
        if name in self._study.pretrainings.methods:
            pretrain_apart(self._study.pretrainings, name, seed, self._out, *how[1:])
            return
        folder = labelled_folder(self._out, name, seed)
        _train(folder, self._study.labelled_tree(name, seed), *how)

    def _try(self, name: str, number: int) -> tuple[float, float]:
        """What one of the settings comes to on the split val."""
        search = self._study.search
        assert search is not None
        self._wait_for_start(name, search.seed)
        changes = {**search.tries[number], "schedule.validate_steps": NEVER_BEFORE_THE_END}
        folder = self._out / f"search-{name}-{number + 1}-{search.seed}"
        tree = self._study.tree(name, search.seed, self._out, changes)
        _train(folder, tree, self._study.trains, self._environment, self._start)
        return last_figures(folder)

    def _found(self, name: str) -> dict[str, Any]:
        search = self._study.search
        assert search is not None
        return search.tries[best_of([each.result() for each in self._tried[name]])]

    def _train(self, name: str, seed: int) -> None:
        self._wait_for_start(name, seed)
        other = self._study.variants[name].get(SEARCHED_AS)
        found = {} if other is None else self._found(other)
        folder = self._out / f"{name}-{seed}"
        _train(
            folder,
            self._study.tree(name, seed, self._out, found),
            self._study.trains,
            self._environment,
            self._start,
        )

    def _wait_for_start(self, name: str, seed: int) -> None:
        for start in self._study.needed_by(name):
            self._pretrained[start, seed].result()

    def _probe(self, seed: int) -> dict[str, Any]:
        probing = self._study.pretrainings.probe
        assert probing is not None
        names = [name for name, each in self._pretrained if each == seed]
        for name in names:
            self._pretrained[name, seed].result()
        weights = {name: self._study.weights_of(name, seed, self._out) for name in names}
        return probe_apart(probing, weights, seed, self._out, self._environment, self._start)


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Threads; what ends them early lets what runs end, and begins nothing else."""
    pool = ThreadPoolExecutor(size)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _named(training: str, text: str) -> str:
    """The text, with the training in front where it does not name it."""
    return text if training in text else f"{training}: {text}"


def _check(study: Study, names: Sequence[str]) -> dict[str, str]:
    """Read all configurations, and open all scenes that are trained and scored on.

    Returns which scenes each data has.
    """
    opened: list[Any] = []
    for name in names:
        config = study.parsed(name)
        data = config.data
        if study.variants[name].get(TAUGHT_BY) is None:  # else there is no teacher to look at yet
            config.architecture(len(data.classes))  # raises where it cannot be built
        if data not in opened:
            opened.append(data)
            if len(data.open("train")) == 0:
                raise StudyError(f"variant {name}: the training split has no scenes")
        config.scenes()
    _check_needed(study, names)
    found = {}
    for text in study.data:
        source = source_of(text)
        scenes = source.open(study.split, num=study.num)
        if len(scenes) == 0:
            raise StudyError(f"data {text}: the split {study.split} has no scenes to score on")
        for data in opened:
            if not {*data.classes} & {*source.classes}:
                raise StudyError(
                    f"data {text}: labelled with {', '.join(source.classes)}, variants are "
                    f"trained on {', '.join(data.classes)}; expected a class that both have"
                )
        found[text] = identity(scenes)
    return found


def _check_needed(study: Study, names: Sequence[str]) -> None:
    """Read the configurations of what these variants need before they are trained."""
    for name in names:
        other = study.variants[name].get(SEARCHED_AS)
        for start in study.needed_by(name):
            if start in study.pretrainings.labelled:
                study.parse(study.labelled_tree(start, 1), f"pretrainings: {start}")
        for changes in study.search.tries if study.search and other is not None else ():
            study.parse(study.tree(name, 1, Path(), changes), f"variant {name}, search")


def settings_path(folder: Path) -> Path:
    """The configuration that a study writes for a training, beside its folder."""
    return folder.with_name(f"{folder.name}.yaml")


def start_path(folder: Path) -> Path:
    """What tells the weights that a training started from, beside its folder."""
    return folder.with_name(f"{folder.name}.start.txt")


def check_same(folder: Path, tree: dict[str, Any], trains: Trains = "train") -> None:
    """Raise StudyError where a training that was begun has other settings, or other weights to
    start from."""
    kind = KINDS[trains]
    path = settings_path(folder)
    is_begun = (folder / STATE).exists() or (folder / TRAINED).exists()
    if not is_begun or not path.exists():
        return
    mark, start = start_path(folder), kind.start_of(tree)
    if start and mark.is_file() and mark.read_text() != start:
        raise StudyError(
            f"{folder}: was trained from other weights than {kind.starts_in_words(tree)} are now; "
            "expected the same: choose another --out, or remove this folder to train it again"
        )
    before, now = (
        flat_config(kind.parse(each, str(path)))
        for each in (read_yaml(path, "a configuration in YAML"), tree)
    )
    keys = [
        key
        for key in {**before, **now}
        if before.get(key) != now.get(key) and not key.startswith(_NOT_LEARNT_FROM)
    ]
    if keys:
        key = keys[0]
        raise StudyError(
            f"{folder}: was trained with other settings: {', '.join(keys)} ({key} was "
            f"{before.get(key)!r}, is {now.get(key)!r}); expected the same: choose another --out, "
            "or remove this folder to train it again"
        )


def _train(
    folder: Path,
    tree: dict[str, Any],
    trains: Trains,
    environment: Mapping[str, str],
    start: Start,
) -> None:
    """A training in a process of its own, unless it is done."""
    check_same(folder, tree, trains)
    if not is_trained(folder):
        train_apart(folder, tree, trains=trains, environment=environment, start=start)


def is_trained(folder: Path) -> bool:
    """Whether the training in a folder was done to its end, with the weights that lie there."""
    mark, weights = folder / TRAINED, folder / WEIGHTS
    return mark.is_file() and weights.is_file() and mark.read_text().strip() == digest(weights)


def train_apart(
    folder: Path,
    tree: dict[str, Any],
    *,
    trains: Trains = "train",
    num_processes: int = 1,
    environment: Mapping[str, str] | None = None,
    start: Start = subprocess.Popen,
) -> None:
    """Run `sr3d train`, or what `trains` names, in one process or several that share each step.

    Goes on with what is in the folder. What it prints goes to a file beside the folder. Raises
    StudyError where it fails or is stopped; `environment` is for what is not set already, `start`
    starts the process.
    """
    check_same(folder, tree, trains)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path, log = settings_path(folder), folder.with_name(f"{folder.name}.log")
    resume = ["--resume"] if (folder / STATE).exists() else []
    files = {path: yaml.safe_dump(tree).encode()}
    start_of = KINDS[trains].start_of(tree)
    if start_of and not resume:
        files[start_path(folder)] = start_of.encode()
    write_whole(files)
    command = [trains, str(path), "--out", str(folder), *resume]
    run_apart(
        *(folder.name, command, log),
        num_processes=num_processes,
        environment=environment,
        start=start,
    )
    write_whole({folder / TRAINED: digest(folder / WEIGHTS).encode()})


@dataclass(frozen=True, slots=True)
class _Measure:
    """How weights are scored on all data of a study, or read from where they were before."""

    study: Study
    scenes: Mapping[str, str]  # by data which scenes it has
    open_scenes: OpenScenes
    device: str

    def trained(self, name: str, folder: Path) -> dict[str, tuple[Scores, ...]]:
        """The scores of one training, kept in its folder."""
        return self._scores(folder / WEIGHTS, folder, self.study.parsed(name).evaluation)

    def references(
        self, out: Path, trainings: Sequence[tuple[str, int]], failures: list[str]
    ) -> dict[str, dict[int, dict[str, tuple[Scores, ...]]]]:
        """Those of the study whose weights are there, by name and seed; adds what went wrong.

        What is of the study has its seeds, other weights and nothing at all have one.
        """
        seeds = sorted({seed for _, seed in trainings})
        evaluation = self.study.parsed(self.study.first).evaluation
        found: dict[str, dict[int, dict[str, tuple[Scores, ...]]]] = {}
        for name, reference in self.study.references.items():
            found[name] = {}
            for seed in seeds if reference.of is not None else seeds[:1]:
                weights = self._weights_of(reference, seed, out)
                if weights is not None and not weights.is_file():
                    continue  # of a variant that was not asked for, or has failed
                try:
                    found[name][seed] = self._scores(
                        *(weights, out / f"{name}-{seed}", evaluation, reference.true_depth)
                    )
                except (ValueError, OSError, RuntimeError) as error:
                    failures.append(_named(f"{name}-{seed}", str(error)))
        return found

    def _weights_of(self, reference: Reference, seed: int, out: Path) -> Path | None:
        if reference.of in self.study.variants:
            return out / f"{reference.of}-{seed}" / WEIGHTS
        if reference.of is not None:
            return self.study.weights_of(reference.of, seed, out)
        return None if reference.weights is None else weights_file(reference.weights)

    def _scores(
        self,
        weights: Path | None,
        folder: Path,
        evaluation: Evaluation,
        true_depth: bool = False,
    ) -> dict[str, tuple[Scores, ...]]:
        sha256 = "" if weights is None else digest(weights)
        study = self.study
        return {
            data: tuple(
                score(
                    weights,
                    folder,
                    Rules(data, study.split, study.num, evaluation, sha256, test, true_depth),
                    which,
                    self.open_scenes,
                    self.device,
                )
                for test in range(1, study.tests + 1)
            )
            for data, which in self.scenes.items()
        }
