"""Studies: variants of a training, each trained with several seeds, scored alike and compared.

A YAML file names the training that all begin from, what all share, and the settings of each
variant by dotted keys. What is trained and scored already is not done again, a training that was
stopped goes on. The first variant is what the others are compared with, seed by seed, and which
else is said by `against`.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sr3d_core.choices import one_of
from sr3d_core.config import Config, flat_config, parse_config
from sr3d_core.data.sources import source_of
from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_core.presets import preset_path
from sr3d_core.study_scores import OpenScenes, Rules, Scores, identity, score
from sr3d_core.training.folder import STATE, WEIGHTS
from sr3d_core.whole_files import write_whole

TRAINED = "trained.txt"
"""In the folder of a training that is done: the digest of its weights."""
_BEGINS = ("preset", "config")
_NAME = re.compile(r"[\w.+-]+")
_NOT_LEARNT_FROM = ("evaluation.", "schedule.num_workers", "schedule.checkpoint_minutes")
_STOPPED_BY_USER = 130
Start = Callable[..., "subprocess.Popen[bytes]"]
"""Starts a process, with the arguments of `subprocess.Popen`."""


class StudyError(ValueError):
    """A study that cannot be read or done; the text names the file or the training."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The settings that all variants share, and those of each."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    variants: dict[str, dict[str, Any]]
    """What each changes, by dotted key; a value replaces all that stands below its key. `preset`
    or `config` among the keys: it begins from another training."""
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

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, by name."""
        if (self.preset is None) == (self.config is None):
            raise ValueError("expected either preset or config, from which all variants begin")
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
        if not self.data or min(self.num, self.seeds, self.tests, *self.seeds_of.values()) < 1:
            raise ValueError("data, num, seeds and tests: expected at least one each")

    @classmethod
    def read(cls, path: Path) -> Study:
        """From a YAML file; raises StudyError naming the file and the key."""
        try:
            tree = read_yaml(path, "a study in YAML")
            return TypeAdapter(cls).validate_python(tree)
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
        others = {other for name in names for other in self.against.get(name, ())}
        wanted = {self.first, *names, *others} if names else set(self.variants)
        return [name for name in self.variants if name in wanted]

    def compared_with(self, name: str) -> list[str]:
        """What a variant is compared with, the first one before others."""
        others = self.against.get(name, ())
        return [each for each in dict.fromkeys((self.first, *others)) if each != name]

    def sharing(self, changes: Mapping[str, Any]) -> Study:
        """The same study with further changes that all variants share."""
        return replace(self, shared={**self.shared, **changes})

    def tree(self, name: str, seed: int) -> dict[str, Any]:
        """The whole configuration of one training, as plain values."""
        own = dict(self.variants[name])
        begins = {key: own.pop(key) for key in _BEGINS if key in own}
        if len(begins) > 1:
            raise StudyError(f"variant {name}: preset and config, expected one of the two")
        preset, config = (
            (begins.get("preset"), begins.get("config")) if begins else (self.preset, self.config)
        )
        path = preset_path(preset) if preset is not None else Path(str(config))
        tree = read_yaml(path, "a configuration in YAML") or {}
        changes = {**self.shared, **own, "schedule.seed": seed}
        for key, value in changes.items():
            _put(tree, key, deepcopy(value), f"variant {name}")
        if "schedule.num_steps" in changes and "schedule.epochs" not in changes:
            tree["schedule"].pop("epochs", None)  # of the preset, which would win over the steps
        return dict(tree)

    def parsed(self, name: str, seed: int = 1) -> Config:
        """The same, checked; raises ConfigError naming the variant and the key."""
        return parse_config(self.tree(name, seed), where=f"variant {name}")

    def trainings(self, names: Sequence[str], seeds: int | None = None) -> list[tuple[str, int]]:
        """Variant and seed of all trainings, the first seed of every variant first."""
        counts = {name: seeds or self.seeds_of.get(name, self.seeds) for name in names}
        last = max(counts.values())
        return [
            (name, seed) for seed in range(1, last + 1) for name in names if seed <= counts[name]
        ]


def _put(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set what stands at a dotted key."""
    place, parts = tree, key.split(".")
    for part in parts[:-1]:
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            raise StudyError(f"{where}: {key}: {part} is {place!r}, which has nothing below it")
    place[parts[-1]] = value


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
        check_same(out / f"{name}-{seed}", study.tree(name, seed))
    scores: dict[str, dict[int, dict[str, tuple[Scores, ...]]]] = {name: {} for name in chosen}
    failures: dict[tuple[str, int], str] = {}
    threads = max(1, (os.cpu_count() or 1) // processes)
    with _children() as start, _pool(processes) as pool:
        running = {}
        for name, seed in trainings:
            folder, tree = out / f"{name}-{seed}", study.tree(name, seed)
            running[pool.submit(_train, folder, tree, threads, start)] = name, seed
        for num_done, done in enumerate(as_completed(running), start=1):
            name, seed = running[done]
            try:
                done.result()
                folder = out / f"{name}-{seed}"
                scores[name][seed] = _scores(study, name, folder, scenes, open_scenes, device)
            except (ValueError, OSError, RuntimeError) as error:
                failures[name, seed] = _named(f"{name}-{seed}", str(error))
            on_done(num_done, len(trainings), f"{name}-{seed}")
    in_order = {name: dict(sorted(found.items())) for name, found in scores.items()}
    return Outcome(study, in_order, tuple(failures[key] for key in trainings if key in failures))


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Threads; what ends them early lets what runs end, and begins nothing else."""
    pool = ThreadPoolExecutor(size)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _children() -> Iterator[Start]:
    """What starts processes; within, SIGTERM is passed on to them and then ends this one.

    Ctrl-C reaches them by itself, and both make a training save and stop.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(*arguments, **options)
        processes.append(process)
        return process

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.terminate()  # nothing to one that has ended
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, pass_on)
    except ValueError:  # not the main thread: nobody sends it signals
        yield start
        return
    try:
        yield start
    finally:
        signal.signal(signal.SIGTERM, before)


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
        config.network.architecture(len(data.classes))  # raises where changes cannot be made
        if data not in opened:
            opened.append(data)
            if len(data.open("train")) == 0:
                raise StudyError(f"variant {name}: the training split has no scenes")
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


def settings_path(folder: Path) -> Path:
    """The configuration that a study writes for a training, beside its folder."""
    return folder.with_name(f"{folder.name}.yaml")


def check_same(folder: Path, tree: dict[str, Any]) -> None:
    """Raise StudyError where a training that was begun has other settings."""
    path = settings_path(folder)
    is_begun = (folder / STATE).exists() or (folder / TRAINED).exists()
    if not is_begun or not path.exists():
        return
    before, now = (
        flat_config(parse_config(each, where=str(path)))
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


def _train(folder: Path, tree: dict[str, Any], threads: int, start: Start) -> None:
    """A training in a process of its own, unless it is done."""
    if not is_trained(folder):
        train_apart(folder, tree, environment={"OMP_NUM_THREADS": str(threads)}, start=start)


def is_trained(folder: Path) -> bool:
    """Whether the training in a folder was done to its end, with the weights that lie there."""
    mark, weights = folder / TRAINED, folder / WEIGHTS
    return mark.is_file() and weights.is_file() and mark.read_text().strip() == digest(weights)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train_apart(
    folder: Path,
    tree: dict[str, Any],
    *,
    num_processes: int = 1,
    environment: Mapping[str, str] | None = None,
    start: Start = subprocess.Popen,
) -> None:
    """Run `sr3d train` in a process of its own, or several that share the scenes of a step.

    Goes on with what is in the folder. What it prints goes to a file beside the folder. Raises
    StudyError where it fails or is stopped; `environment` is for what is not set already, `start`
    starts the process.
    """
    check_same(folder, tree)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path, log = settings_path(folder), folder.with_name(f"{folder.name}.log")
    write_whole({path: yaml.safe_dump(tree).encode()})
    resume = ["--resume"] if (folder / STATE).exists() else []
    launch = ["-m", "torch.distributed.run", f"--nproc_per_node={num_processes}"]
    command = ["-m", "sr3d_core.cli.main", "train", str(path), "--out", str(folder), *resume]
    with log.open("ab") as file:
        process = start(
            [sys.executable, *(launch if num_processes > 1 else []), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**(environment or {}), **os.environ},
        )
        code = process.wait()
    if code == _STOPPED_BY_USER:
        raise StudyError(f"{folder.name}: stopped and saved; the same command goes on")
    if code != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
        raise StudyError(
            f"{folder.name}: the training ended with {code}: {lines[-1]} (all it "
            f"printed is in {log})"
        )
    write_whole({folder / TRAINED: digest(folder / WEIGHTS).encode()})


def _scores(
    study: Study,
    name: str,
    folder: Path,
    scenes: Mapping[str, str],
    open_scenes: OpenScenes,
    device: str,
) -> dict[str, tuple[Scores, ...]]:
    """The scores of one training on all data, from its folder where they are there."""
    evaluation, weights = study.parsed(name).evaluation, digest(folder / WEIGHTS)
    return {
        data: tuple(
            score(
                folder / WEIGHTS,
                Rules(data, study.split, study.num, evaluation, weights, test),
                which,
                open_scenes,
                device,
            )
            for test in range(1, study.tests + 1)
        )
        for data, which in scenes.items()
    }
