"""`sr3d study` and `sr3d sweeps`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sr3d_core.cli.scenes import labelled_scenes
from sr3d_core.console import (
    SCENES,
    AcceptDataOption,
    one_line_errors,
    progress_of,
    require_folder,
    require_writable,
    result_console,
    say,
    write_json,
)

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
    tests: Annotated[
        int | None,
        typer.Option(
            min=1, help="Test every training so often, on other random points; as in FILE."
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="So many trainings at a time, which share the processors.")
    ] = 1,
    device: Annotated[str, typer.Option(help="Of the scoring: auto, cpu or cuda.")] = "auto",
    accept_data: AcceptDataOption = False,
) -> None:
    """Train variants of a training with several seeds, score them alike, print one table.

    Every training has a folder VARIANT-SEED below --out, and beside it its configuration and what
    it printed. What is trained and scored already is not done again; a training that was stopped
    goes on. The table (table.md, and study.json with all figures) has means and standard
    deviations over seeds, the best of all tests, and how often a variant differs clearly from the
    first one, seed by seed, on the same scenes.

    Examples:

      sr3d study config/study/paper.yaml --out runs/paper

      sr3d study config/study/paper.yaml --out runs/paper --names spota --names ras --seeds 3

      sr3d study config/study/paper_scannet.yaml --out runs/scannet     5 trainings x 5 tests
    """
    with one_line_errors():
        from dataclasses import replace

        from sr3d_core.study.processes import StudyError
        from sr3d_core.study.run import run_study
        from sr3d_core.study.settings import Study
        from sr3d_core.study.table import markdown, summary
        from sr3d_core.whole_files import write_whole

        asked = Study.read(file)
        if data:
            asked = replace(asked, data=tuple(data))
        if num is not None:
            asked = replace(asked, num=num)
        if tests is not None:
            asked = replace(asked, tests=tests)
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
                accept_data=accept_data,
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


def sweeps(
    figures: Annotated[Path, typer.Argument(help="The study.json of a study.")],
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="Draw the sweeps here.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write them here.")] = None,
) -> None:
    """Show accuracy over a setting, for all settings that a study has tried three values of.

    Which these are follows from the configurations of its variants: those that differ in one
    number and in nothing else, such as k, mu, beta and tau in config/study/paper.yaml.

    Example: sr3d sweeps runs/paper/study.json --picture sweeps.png
    """
    with one_line_errors():
        from rich.table import Table

        from sr3d_core.sweeps import read_sweeps

        for path in (picture, json_out):
            require_writable(path)
        found = read_sweeps(figures)
        table = Table(title=f"sweeps of {figures}, mean AP in percent")
        for heading in ("setting", "data", "value", "AP25", "AP50", "variant"):
            table.add_column(heading)
        for sweep in found:
            for place, value in enumerate(sweep.values):
                cells = (f"{sweep.means[name][place]:.1f}" for name in sweep.means)
                table.add_row(
                    *(sweep.key, sweep.data, f"{value:g}", *cells, sweep.variants[place])
                )
            table.add_section()
        result_console().print(table)
        if picture is not None:
            from sr3d_core.plots import sweep_plot
            from sr3d_core.whole_files import write_whole

            write_whole({picture: sweep_plot(found)})
        write_json(json_out, [sweep.to_dict() for sweep in found])


def _json(content: object) -> bytes:
    import json

    return json.dumps(content, indent=1, ensure_ascii=False).encode()
