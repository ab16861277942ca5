"""What a study does before its trainings: pre-trainings, and the search for settings of each.

A pre-training of one seed is shared by all trainings of that seed that start from it. A search
trains one variant with several settings, and takes those whose last weights score best on the
split val of its own data; scenes that the study is scored on take no part.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sr3d_core.data.cloud_formats import SUFFIXES
from sr3d_core.data.identity import ACCEPT_DATA, digest_of_files, identity_of, unknown_scenes
from sr3d_core.data.recordings import is_part
from sr3d_core.data.sources import READERS, source_of
from sr3d_core.mistakes import sentences
from sr3d_core.plain_yaml import read_yaml
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.study.processes import Start, StudyError, run_apart
from sr3d_core.study.scores import identity
from sr3d_core.whole_files import write_whole

_log = logging.getLogger(__name__)
NEVER_BEFORE_THE_END = 10**9
"""Steps between validations, where only the last weights are to be scored."""
_PROBES = "probes"
_SOURCES = "sources"


@dataclass(frozen=True, kw_only=True)
class Probing:
    """What the weights of pre-trainings are asked about: see `sr3d model probe`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    data: str
    """Labelled rooms as `--data` says them."""
    split: str = "train"
    num: int = 100
    """So many of these scenes at most."""


@dataclass(frozen=True, kw_only=True)
class Pretrainings:
    """The pre-trainings of a study, each done once for every seed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    sources: tuple[str, ...] = ()
    """Clouds of those that name none, as `sr3d pretrain` takes them."""
    shared: dict[str, Any] = field(default_factory=dict)
    """Settings of all of them, by dotted key."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each changes; `sources` are the clouds that it learns from in the place of those."""
    labelled: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Those that know labels: what each changes of the training that the variants begin from."""
    probe: Probing | None = None

    def __post_init__(self) -> None:
        both = [name for name in self.methods if name in self.labelled]
        if both:
            raise ValueError(f"pretrainings: {both[0]} is in methods and in labelled")
        for name in self.methods:
            if not self.sources_of(name):
                raise ValueError("pretrainings.sources: none, expected clouds to learn from")
            self.settings(name, 1)

    def sources_of(self, name: str) -> tuple[str, ...]:
        """The clouds that one learns from; raises ValueError where they are no list of texts."""
        found = self.methods[name].get(_SOURCES, self.sources)
        if not isinstance(found, list | tuple) or not all(isinstance(each, str) for each in found):
            raise ValueError(
                f"pretrainings: {name}: sources is {found!r}, expected a list, such as [rooms]"
            )
        return tuple(found)

    def settings(self, name: str, seed: int) -> dict[str, Any]:
        """The settings of one, as `sr3d pretrain --settings` reads them; raises ValueError."""
        tree: dict[str, Any] = {}
        own = {key: value for key, value in self.methods[name].items() if key != _SOURCES}
        changes = {**self.shared, **own, "steps.seed": seed}
        for key, value in changes.items():
            put(tree, key, value, f"pretrainings: {name}")
        try:
            TypeAdapter(Pretraining).validate_python(tree)
        except ValidationError as error:
            raise ValueError(f"pretrainings: {name}: {sentences(error, Pretraining)}") from error
        return tree


def put(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set what stands at a dotted key."""
    place, parts = tree, key.split(".")
    for part in parts[:-1]:
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            raise StudyError(f"{where}: {key}: {part} is {place!r}, which has nothing below it")
    place[parts[-1]] = value


def pretrained_weights(out: Path, name: str, seed: int) -> Path:
    """Where the weights of a pre-training without labels lie."""
    return out / f"pretrained-{name}-{seed}.safetensors"


def pretrain_apart(
    all_of_them: Pretrainings,
    name: str,
    seed: int,
    out: Path,
    environment: Mapping[str, str],
    start: Start,
    accept_data: bool,
) -> None:
    """Run `sr3d pretrain` in a process of its own, unless it is done; goes on where it stopped.

    Raises StudyError where it fails, is stopped, or was begun with other settings or, unless
    `accept_data`, other clouds.
    """
    weights = pretrained_weights(out, name, seed)
    settings, mark = weights.with_suffix(".yaml"), weights.with_suffix(".txt")
    tree, sources = all_of_them.settings(name, seed), all_of_them.sources_of(name)
    is_begun = mark.exists() or weights.with_suffix(".state").exists()
    if is_begun and settings.exists() and read_yaml(settings, "settings in YAML") != tree:
        raise StudyError(
            f"{weights}: was pre-trained with other settings than the study has now ({settings} "
            "says which); expected the same: choose another --out, or remove these files"
        )
    seen, known = weights.with_suffix(".scenes.json"), {each: _clouds_of(each) for each in sources}
    if is_begun and not accept_data:
        _check_same_clouds(weights, seen, known)
    if weights.is_file() and mark.is_file() and mark.read_text() == _mark(weights, sources):
        return
    out.mkdir(parents=True, exist_ok=True)
    files, resume = {settings: yaml.safe_dump(tree).encode()}, list[str]()
    if weights.with_suffix(".state").exists():
        resume = ["--resume", *([ACCEPT_DATA] if accept_data else [])]
    else:
        files[seen] = json.dumps(known).encode()
    write_whole(files)
    command = ["pretrain", *sources, "--settings", str(settings), "--out", str(weights), *resume]
    run_apart(
        *(weights.stem, command, weights.with_suffix(".log")), environment=environment, start=start
    )
    write_whole({mark: _mark(weights, sources).encode()})


def _check_same_clouds(weights: Path, seen: Path, now: Mapping[str, str]) -> None:
    """Raise StudyError where a pre-training has seen other clouds than its sources have now."""
    if not seen.is_file():
        _log.warning("%s", unknown_scenes(str(weights), ", ".join(now)))
        return
    before = json.loads(seen.read_text(encoding="utf-8"))
    for source, found in now.items():
        if before.get(source, found) != found:
            raise StudyError(
                f"{weights}: was pre-trained on other clouds of {source} ({before[source]}, now "
                f"{found}); expected the same: put them back, choose another --out, or say "
                f"{ACCEPT_DATA} to take it as it is"
            )


def _clouds_of(source: str) -> str:
    """What changes with the clouds of a source; recordings are not read to their end for it."""
    if source.partition(":")[0] in READERS:
        found = identity_of(source_of(source).open("train"))
        return f"{found.num} scenes {found.names[:8]} {found.files[:16]}".strip()
    path = Path(source)
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*"))
    clouds = [
        each
        for each in files
        if each.is_file() and (each.suffix.lower() in SUFFIXES or is_part(each))
    ]
    return f"{len(clouds)} files {digest_of_files(clouds)[:16]}"


def _mark(weights: Path, sources: Sequence[str]) -> str:
    """What tells finished weights from those of other clouds."""
    return "\n".join([hashlib.sha256(weights.read_bytes()).hexdigest(), *sources])


def probe_apart(
    probing: Probing,
    weights: Mapping[str, Path],
    seed: int,
    out: Path,
    environment: Mapping[str, str],
    start: Start,
) -> dict[str, Any]:
    """What `sr3d model probe` says of weights by name, from its file where it is there.

    Asked again where the rooms are others than before.
    """
    path, mark = out / f"{_PROBES}-{seed}.json", out / f"{_PROBES}-{seed}.txt"
    scenes = source_of(probing.data).open(probing.split, num=probing.num)
    asked = [*(f"{key} {value}" for key, value in vars(probing).items()), identity(scenes)]
    known = _digest([*asked, *(f"{name} {_mark(w, ())}" for name, w in weights.items())])
    if not (path.is_file() and mark.is_file() and mark.read_text() == known):
        where = ("--data", probing.data, "--split", probing.split, "--num", str(probing.num))
        command = ["model", "probe", *map(str, weights.values()), *where]
        command += ["--seed", str(seed), "--json", str(path)]
        log = path.with_suffix(".log")
        run_apart(path.stem, command, log, environment=environment, start=start)
        write_whole({mark: known.encode()})
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    names = {str(each): name for name, each in weights.items()}
    return {names.get(row["weights"], row["weights"]): row for row in rows}


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def last_figures(folder: Path) -> tuple[float, float]:
    """AP50 and AP25 of the last weights on the split val, -1 where nothing was to be found."""
    lines = (folder / "validation.jsonl").read_text(encoding="utf-8").strip().splitlines()
    found = json.loads(lines[-1])
    return tuple(-1.0 if found[key] is None else found[key] for key in ("map50", "map25"))  # type: ignore[return-value]


def best_of(figures: Sequence[tuple[float, float]]) -> int:
    """The number of the best; AP25 decides between equals, then the one that comes first."""
    return max(range(len(figures)), key=lambda number: (*figures[number], -number))
