"""`sr3d study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sr3d_core.cli.scenes import labelled_scenes
from sr3d_core.console import SCENES, one_line_errors, progress_of, require_folder, say

TABLE, FIGURES = "table.md", "study.json"


def study(
    file: Annotated[
        Path, typer.Argument(help="The study, YAML, such as config/study/paper.yaml.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of all its trainings and of the table.")],
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Train every variant with so many seeds; default: as in FILE."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(help="Only this variant, beside the first; may be given several times."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Score on these scenes, instead of those in FILE: {SCENES} May be given several "
            "times."
        ),
    ] = None,
    num: Annotated[
        int | None, typer.Option(min=1, help="Score at most so many scenes of each; as in FILE.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="So many trainings at a time, which share the processors.")
    ] = 1,
    device: Annotated[str, typer.Option(help="Of the scoring: auto, cpu or cuda.")] = "auto",
) -> None:
    """Train variants of a training with several seeds, score them alike, print one table.

    Every training has a folder VARIANT-SEED below --out, and beside it its configuration and what
    it printed. What is trained and scored already is not done again; a training that was stopped
    goes on. The table (table.md, and study.json with all figures) has means and standard
    deviations over seeds, and says how often a variant differs clearly from the first one, seed
    by seed, on the same scenes.

    Examples:

      sr3d study config/study/paper.yaml --out runs/paper

      sr3d study config/study/paper.yaml --out runs/paper --names spota --names ras --seeds 3
    """
    with one_line_errors():
        from dataclasses import replace

        from sr3d_core.study import Study, StudyError, run_study
        from sr3d_core.study_table import markdown, summary
        from sr3d_core.whole_files import write_whole

        asked = Study.read(file)
        if data:
            asked = replace(asked, data=tuple(data))
        if num is not None:
            asked = replace(asked, num=num)
        require_folder(out)
        count = len(asked.trainings(asked.chosen(names or ()), seeds))
        with progress_of("trainings", count) as tell:
            found = run_study(
                asked,
                out,
                labelled_scenes,
                names=names or (),
                seeds=seeds,
                processes=processes,
                device=device,
                on_done=lambda num_done, _, name: tell(num_done, name),
            )
        figures = summary(found)
        write_whole(
            {
                out / TABLE: f"{markdown(figures)}\n".encode(),
                out / FIGURES: _json(figures),
            }
        )
        typer.echo(markdown(figures))
        say(f"written: {out / TABLE}, {out / FIGURES}")
        if found.failures:
            raise StudyError(
                f"{len(found.failures)} of {count} trainings are missing in the table: "
                f"{'; '.join(found.failures)}"
            )


def _json(content: object) -> bytes:
    import json

    return json.dumps(content, indent=1, ensure_ascii=False).encode()
