"""Doing a study: what is missing of its trainings, so many at a time, then their scores."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr3d_core.checkpoint import weights_file
from sr3d_core.config import Evaluation
from sr3d_core.data.identity import unknown_scenes
from sr3d_core.data.sources import source_of
from sr3d_core.study.before import (
    NEVER_BEFORE_THE_END,
    best_of,
    last_figures,
    pretrain_apart,
    probe_apart,
)
from sr3d_core.study.kept_scenes import KeptScenes, OpenScenes
from sr3d_core.study.kinds import Reference, digest
from sr3d_core.study.processes import Start, StudyError, children
from sr3d_core.study.scores import Rules, Scores, identity, score
from sr3d_core.study.settings import SEARCHED_AS, TAUGHT_BY, Study, labelled_folder
from sr3d_core.study.training import check_same, check_same_scenes, is_trained, train
from sr3d_core.training.folder import WEIGHTS

_log = logging.getLogger(__name__)


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
    accept_data: bool = False,
    on_done: Callable[[int, int, str], None] = lambda num_done, num, name: None,
) -> Outcome:
    """Train and score what is missing below `out`, so many trainings at a time.

    Everything is read and checked before the first training starts: raises ValueError where a
    variant, a configuration or a folder of scenes is not as it should be. A training that fails
    does not stop the others; what went wrong is in the outcome. Trainings that were begun with
    other scenes than the study means now stop it, unless `accept_data` says so. `on_done` is told
    how many of how many trainings are done, and which one is; once for those that were before.
    """
    chosen = study.chosen(names)
    scenes = _check(study, chosen)
    trainings = study.trainings(chosen, seeds)
    _check_begun(study, out, trainings, accept_data)
    scores: dict[str, dict[int, dict[str, tuple[Scores, ...]]]] = {name: {} for name in chosen}
    failures: dict[tuple[str, int], str] = {}
    measure = _Measure(study, scenes, KeptScenes(open_scenes), device)
    was_done = [at for at in trainings if is_trained(_folder(out, at))]
    in_turn = [*was_done, *(at for at in trainings if at not in was_done)]
    threads = max(1, (os.cpu_count() or 1) // processes)
    with children() as start, _pool(processes) as pool:
        environment = {"OMP_NUM_THREADS": str(threads)}
        tasks = _Tasks(study, out, pool, start, environment, accept_data)
        running = {done: at for at, done in tasks.submit(in_turn).items()}
        for num_done, done in enumerate(as_completed(running), start=1):
            name, seed = running[done]
            try:
                done.result()
                scores[name][seed] = measure.trained(name, _folder(out, running[done]))
            except (ValueError, OSError, RuntimeError) as error:
                failures[name, seed] = _named(f"{name}-{seed}", str(error))
            if num_done >= len(was_done):  # to read what was done tells nothing of the time left
                on_done(num_done, len(trainings), f"{name}-{seed}")
        _say_unknown(out, scores)
        texts = [failures[key] for key in trainings if key in failures]
        probes = tasks.probes(texts)
    references = measure.references(out, trainings, texts)
    in_order = {name: dict(sorted(found.items())) for name, found in scores.items()}
    return Outcome(study, in_order, tuple(texts), probes, tasks.searched(), references)


def _folder(out: Path, training: tuple[str, int]) -> Path:
    """The folder of a training, by variant and seed."""
    name, seed = training
    return out / f"{name}-{seed}"


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
        accept_data: bool,
    ) -> None:
        self._study, self._out, self._pool = study, out, pool
        self._how = (environment, start, accept_data)
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
        if name in self._study.pretrainings.methods:
            pretrain_apart(self._study.pretrainings, name, seed, self._out, *self._how)
            return
        folder = labelled_folder(self._out, name, seed)
        train(folder, self._study.labelled_tree(name, seed), self._study.trains, *self._how)

    def _try(self, name: str, number: int) -> tuple[float, float]:
        """What one of the settings comes to on the split val."""
        search = self._study.search
        assert search is not None
        self._wait_for_start(name, search.seed)
        changes = {**search.tries[number], "schedule.validate_steps": NEVER_BEFORE_THE_END}
        folder = self._out / f"search-{name}-{number + 1}-{search.seed}"
        tree = self._study.tree(name, search.seed, self._out, changes)
        train(folder, tree, self._study.trains, *self._how)
        return last_figures(folder)

    def _found(self, name: str) -> dict[str, Any]:
        search = self._study.search
        assert search is not None
        return search.tries[best_of([each.result() for each in self._tried[name]])]

    def _train(self, name: str, seed: int) -> None:
        self._wait_for_start(name, seed)
        other = self._study.variants[name].get(SEARCHED_AS)
        found = {} if other is None else self._found(other)
        folder = _folder(self._out, (name, seed))
        tree = self._study.tree(name, seed, self._out, found)
        train(folder, tree, self._study.trains, *self._how)

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
        return probe_apart(probing, weights, seed, self._out, *self._how[:2])


def _say_unknown(
    out: Path, scores: Mapping[str, Mapping[int, Mapping[str, Sequence[Scores]]]]
) -> None:
    """Say of scores of an earlier version, once for each data, what is not known of them."""
    found = [
        (data, each) for of in scores.values() for one in of.values() for data, each in one.items()
    ]
    for data in dict.fromkeys(data for data, _ in found):
        num = sum(not all(s.is_of_known_files for s in each) for at, each in found if at == data)
        if num:
            _log.warning("%s", unknown_scenes(f"{out}: the scores of {num} trainings", data))


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


def _check_begun(
    study: Study, out: Path, trainings: Sequence[tuple[str, int]], accept_data: bool
) -> None:
    """Raise StudyError where one was begun with other settings or scenes than it has now."""
    of_old = []
    for name, seed in trainings:
        folder, tree = _folder(out, (name, seed)), study.tree(name, seed, out)
        if SEARCHED_AS not in study.variants[name]:  # whose settings are found first
            check_same(folder, tree, study.trains)
        if not accept_data and not check_same_scenes(folder, tree, study.trains):
            of_old.append(folder.name)
    if of_old:
        what = f"{out}: {len(of_old)} trainings ({of_old[0]} the first)"
        _log.warning("%s", unknown_scenes(what, "their scenes"))


def _check(study: Study, names: Sequence[str]) -> dict[str, str]:
    """Read all configurations, and open all scenes that are trained and scored on.

    Returns which scenes each data has.
    """
    opened, others = list[Any](), list[Any]()
    for name in names:
        config = study.parsed(name)
        data = config.data
        if study.variants[name].get(TAUGHT_BY) is None:  # else there is no teacher to look at yet
            config.architecture(len(data.classes))  # raises where it cannot be built
        if data not in opened:
            opened.append(data)
            if len(data.open("train")) == 0:
                raise StudyError(f"variant {name}: the training split has no scenes")
        for other in config.other_data:
            if other not in others:
                others.append(other)
                other.open("train")
    _check_needed(study, names)
    found = {}
    for text in study.data:
        source = source_of(text)
        scenes = source.open(study.split, num=study.num)
        if len(scenes) == 0:
            raise StudyError(f"data {text}: the split {study.split} has no scenes to score on")
        for note in getattr(scenes, "notes", ()):
            _log.warning("data %s: read as: %s", text, note)
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
                        *(weights, _folder(out, (name, seed)), evaluation, reference.true_depth)
                    )
                except (ValueError, OSError, RuntimeError) as error:
                    failures.append(_named(f"{name}-{seed}", str(error)))
        return found

    def _weights_of(self, reference: Reference, seed: int, out: Path) -> Path | None:
        if reference.of in self.study.variants:
            return _folder(out, (reference.of, seed)) / WEIGHTS
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
