"""What `sr3d eval --report` says, against answers whose figures are known beforehand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_harness import assert_one_line_error, save_untrained, sr3d
from sample_boxes import found

from sr3d_core.analysis.analyse import Analysis, analyse
from sr3d_core.analysis.answers import Answers, by_distance, by_size, by_visible_share
from sr3d_core.analysis.page import write_page
from sr3d_core.analysis.reliability import rank_correlation, reliability
from sr3d_core.evaluate import average_precision, rankings, report
from sr3d_core.matches import match_all
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Sample, Targets

CLASSES = ("chair", "bed")
CHAIR, BED = 0, 1


def cube(x: float, y: float = 0.0, edge: float = 1.0) -> list[float]:
    return [x, y, 0.5, edge, edge, edge, 0.0]


def truth(*rows: tuple[int, list[float]]) -> Targets:
    boxes = torch.tensor([row for _, row in rows]).reshape(-1, 7)
    return Targets(
        Boxes3D.from_array(boxes), torch.tensor([k for k, _ in rows], dtype=torch.int64)
    )


class Scripted:
    """Answers scene after scene what it was told to."""

    classes: tuple[str, ...] = CLASSES

    def __init__(self, *answers: Detections) -> None:
        self._answers = iter(answers)

    def detect(self, cloud: PointCloud) -> Detections:
        del cloud
        return next(self._answers)


def analysed(*scenes: tuple[Detections, Targets]) -> Analysis:
    cloud = PointCloud.single(torch.rand(50, 3, generator=torch.Generator().manual_seed(0)), None)
    samples = [Sample(cloud, targets, f"scene {k}") for k, (_, targets) in enumerate(scenes)]
    return analyse(Scripted(*(detections for detections, _ in scenes)), samples)


def mixed() -> Analysis:
    """Scene 0 is perfect, scene 1 has a ghost and a miss, scene 2 takes a bed for a chair."""
    weak = (0.1, CHAIR, cube(20))  # a robot does not report it
    return analysed(
        (found((0.9, CHAIR, cube(0)), weak), truth((CHAIR, cube(0)))),
        (
            found((0.8, CHAIR, cube(0)), (0.6, CHAIR, cube(9))),
            truth((CHAIR, cube(0)), (BED, cube(3))),
        ),
        (found((0.7, CHAIR, cube(3))), truth((BED, cube(3)))),
    )


def test_the_calibration_error_is_the_weighted_distance_of_score_and_share() -> None:
    """Bin .9: two of .95, one right: .45 off. Bin .2: four of .25, one right: nothing off."""
    ghosts = [cube(10.0 * k) for k in range(2, 6)]
    detections = found(
        (0.95, CHAIR, cube(0)),
        (0.95, CHAIR, ghosts[0]),
        (0.25, CHAIR, cube(10)),
        *((0.25, CHAIR, ghost) for ghost in ghosts[1:]),
    )
    targets = truth((CHAIR, cube(0)), (CHAIR, cube(10)))
    result = reliability(match_all([detections], [targets]), CLASSES)
    assert [(each.low, each.num, each.share_right) for each in result.bins] == [
        (0.2, 4, 0.25),
        (0.9, 2, 0.5),
    ]
    assert result.ece == pytest.approx(2 / 6 * 0.45, abs=1e-6)


def test_each_class_has_an_error_of_its_own() -> None:
    """Chairs of .9, both right: .1 off. Beds of .6, one of two right: .1 off; together .1 too."""
    detections = found(
        *((0.9, CHAIR, cube(x)) for x in (0, 10)), *((0.6, BED, cube(x)) for x in (20, 30))
    )
    targets = truth((CHAIR, cube(0)), (CHAIR, cube(10)), (BED, cube(20)))
    result = reliability(match_all([detections], [targets]), (*CLASSES, "desk"))
    assert result.class_ece["chair"] == pytest.approx(0.1, abs=1e-6)
    assert result.class_ece["bed"] == pytest.approx(0.1, abs=1e-6)
    assert math.isnan(result.class_ece["desk"])


def test_errors_of_one_part_of_the_score_cancel_as_in_its_definition() -> None:
    """Two of .5, one right: their part is exactly right, whichever of them it is."""
    detections = found((0.5, CHAIR, cube(0)), (0.5, CHAIR, cube(10)))
    assert reliability(match_all([detections], [truth((CHAIR, cube(0)))]), CLASSES).ece == 0


def test_overlaps_in_a_part_of_the_score_are_a_mean_and_their_middle_half() -> None:
    """Shifted by 0, 1/3 and 1, cubes of one metre overlap by 1, 1/2 and 0."""
    shifts = ((0.0, 0.0), (10.0, 1 / 3), (20.0, 1.0))
    detections = found(*((0.55, CHAIR, cube(x + shift)) for x, shift in shifts))
    targets = truth(*((CHAIR, cube(x)) for x, _ in shifts))
    (only,) = reliability(match_all([detections], [targets]), CLASSES).bins
    assert only.mean_iou == pytest.approx(0.5, abs=1e-5)
    assert only.quarters == pytest.approx((0.25, 0.75), abs=1e-5)


def test_a_score_of_one_belongs_to_the_last_part() -> None:
    matches = match_all([found((1.0, CHAIR, cube(0)))], [truth((CHAIR, cube(0)))])
    result = reliability(matches, CLASSES)
    assert [(each.low, each.high, each.num) for each in result.bins] == [(0.9, 1.0, 1)]
    assert result.ece == 0


def test_rank_correlation_is_that_of_ranks_and_ties_share_theirs() -> None:
    assert rank_correlation(np.array([0.1, 0.2, 0.9]), np.array([1.0, 10.0, 11.0])) == 1
    assert rank_correlation(np.array([0.1, 0.2, 0.9]), np.array([3.0, 2.0, 1.0])) == -1
    # ranks 1 2 3 and 1.5 1.5 3: covariance 1.5, squares 2 and 1.5
    tied = rank_correlation(np.array([0.1, 0.2, 0.9]), np.array([0.0, 0.0, 1.0]))
    assert tied == pytest.approx(1.5 / math.sqrt(2 * 1.5))


def test_what_does_not_vary_has_no_rank_correlation() -> None:
    assert math.isnan(rank_correlation(np.array([0.5]), np.array([0.5])))
    assert math.isnan(rank_correlation(np.array([0.5, 0.5]), np.array([0.1, 0.2])))


def test_precision_at_a_recall_is_the_best_from_there_on() -> None:
    """Right, wrong, right of 4 boxes: precision 1 up to recall .25, then 2/3 up to .5, then 0."""
    detections = found(*((0.9, CHAIR, cube(0)), (0.8, CHAIR, cube(50)), (0.7, CHAIR, cube(10))))
    targets = truth(*((CHAIR, cube(10.0 * k)) for k in range(4)))
    ((ranked,),) = rankings([detections], [targets], 1, 0.5)
    levels = np.array([0.0, 0.25, 0.26, 0.5, 0.51, 1.0])
    assert ranked.precision_at(levels) == pytest.approx([1, 1, 2 / 3, 2 / 3, 0, 0])


def test_the_curve_of_the_json_has_the_area_of_the_average_precision() -> None:
    generator = np.random.default_rng(3)
    rows = [(float(s), CHAIR, cube(10.0 * k)) for k, s in enumerate(generator.random(400))]
    detections = found(*rows)
    targets = truth(*((CHAIR, cube(10.0 * k)) for k in range(0, 400, 2)))
    ((ranked,),) = rankings([detections], [targets], 1, 0.5)
    curve = ranked.precision_at(np.linspace(0, 1, 1001))
    exact = average_precision([detections], [targets], 1, 0.5).mean
    assert curve.mean() == pytest.approx(exact, abs=0.01)


def test_bands_of_distance_tell_where_boxes_are_lost() -> None:
    """At 1, 3 and 5 m; the far one is missed, and a ghost stands in the second band."""
    targets = truth((CHAIR, cube(1)), (CHAIR, cube(0, 3)), (CHAIR, cube(-5)))
    detections = found((0.9, CHAIR, cube(3, 2)), (0.8, CHAIR, cube(1)), (0.7, CHAIR, cube(0, 3)))
    parts = by_distance(Answers(CLASSES, [detections], [targets]))
    scores = [report(part.found, part.truth, CLASSES) for part in parts.values()]
    assert [int(each.ap25.num_truth[CHAIR]) for each in scores] == [1, 1, 1]
    assert [float(each.ap25.per_class[CHAIR]) for each in scores] == [1.0, 0.5, 0.0]


def test_a_detection_belongs_to_the_band_of_the_box_that_it_hits() -> None:
    """The box stands just beyond 2 m, what is found of it just before."""
    answers = Answers(CLASSES, [found((0.9, CHAIR, cube(1.9)))], [truth((CHAIR, cube(2.1)))])
    near, middle, _ = by_distance(answers).values()
    assert (len(near.found[0]), len(middle.found[0])) == (0, 1)


def seen(target: Targets, *shares: float) -> Targets:
    return replace(target, seen=torch.tensor(shares))


def test_bands_of_visible_share_tell_what_is_lost() -> None:
    """Of .1, .5 and .9; the first is missed. Ghosts and scenes without shares are in no band."""
    targets = seen(truth((CHAIR, cube(0)), (CHAIR, cube(10)), (CHAIR, cube(20))), 0.1, 0.5, 0.9)
    detections = found((0.9, CHAIR, cube(99)), (0.8, CHAIR, cube(10)), (0.7, CHAIR, cube(20)))
    other = (found((0.9, CHAIR, cube(0))), truth((CHAIR, cube(0)), (CHAIR, cube(10))))
    parts = by_visible_share(Answers(CLASSES, [detections, other[0]], [targets, other[1]]))
    assert parts is not None
    scores = [report(part.found, part.truth, CLASSES) for part in parts.values()]
    assert [int(each.ap25.num_truth[CHAIR]) for each in scores] == [1, 1, 1]
    assert [float(each.ap25.per_class[CHAIR]) for each in scores] == [0.0, 1.0, 1.0]


def test_shares_at_an_edge_belong_to_the_lower_band() -> None:
    targets = seen(truth((CHAIR, cube(0)), (CHAIR, cube(10))), 0.3, 0.6)
    parts = by_visible_share(Answers(CLASSES, [Detections.empty()], [targets]))
    assert parts is not None
    assert [len(part.truth[0]) for part in parts.values()] == [1, 1, 0]


def test_where_no_scene_says_what_is_seen_nothing_is_made_up(tmp_path: Path) -> None:
    assert by_visible_share(Answers(CLASSES, [], [])) is None
    analysis = mixed()
    assert analysis.by_visible_share is None
    assert analysis.to_dict()["by_visible_share"] is None
    write_page(tmp_path / "page.html", "", {}, analysis)
    assert "do not say how much" in (tmp_path / "page.html").read_text()


def test_what_is_seen_stays_with_its_box() -> None:
    targets = seen(truth((CHAIR, cube(0)), (BED, cube(10))), 0.25, 0.75)
    one = targets[torch.tensor([False, True])].to("cpu").map_boxes(lambda boxes: boxes)
    assert one.with_boxes(one.boxes).seen is not None
    assert one.with_boxes(one.boxes).seen.tolist() == [0.75]  # type: ignore[union-attr]


def test_heights_are_no_distance() -> None:
    high = [0.0, 0.0, 9.0, 1.0, 1.0, 1.0, 0.0]
    near, *_ = by_distance(Answers(CLASSES, [Detections.empty()], [truth((CHAIR, high))])).values()
    assert len(near.truth[0]) == 1


def test_the_worst_scenes_come_first_and_perfect_ones_not_at_all() -> None:
    worst = [scene.to_dict() for scene in mixed().worst]
    assert worst == [
        {"scene": "scene 1", "right": 1, "wrong": 1, "missed": 1},
        {"scene": "scene 2", "right": 0, "wrong": 1, "missed": 1},
    ]


def test_of_many_bad_scenes_few_are_kept() -> None:
    scenes = [
        (Detections.empty(), truth(*((CHAIR, cube(3.0 * k)) for k in range(num))))
        for num in range(1, 10)
    ]
    assert [scene.num_faults for scene in analysed(*scenes).worst] == [9, 8, 7, 6, 5, 4]


def test_an_ignored_object_that_is_found_is_no_fault() -> None:
    targets = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64), truth((CHAIR, cube(0))))
    assert analysed((found((0.9, CHAIR, cube(0))), targets)).worst == ()


def test_the_json_holds_every_figure() -> None:
    values = json.loads(json.dumps(mixed().to_dict(), allow_nan=False))
    assert values["confusion"]["taken_for"] == {
        "chair": {"chair": 2, "bed": 0, "nothing": 0},
        "bed": {"chair": 1, "bed": 0, "nothing": 1},
    }
    curves = values["precision_at_recall"]
    assert curves["iou25"] == {"chair": [1.0] * 101, "bed": [0.0] * 101}
    assert len(curves["recall"]) == 101
    assert values["by_distance"]["up to 2 m"]["per_class"]["chair"]["boxes"] == 2
    assert values["by_distance"]["2 to 4 m"]["per_class"]["bed"]["boxes"] == 2


@pytest.mark.parametrize(
    "scenes",
    [
        [],
        [(Detections.empty(), truth())],
        [(Detections.empty(), truth((CHAIR, cube(0))))],
        [(found((0.9, CHAIR, cube(0))), truth())],
    ],
    ids=["no scenes", "nothing at all", "no detections", "no boxes"],
)
def test_where_there_is_nothing_the_page_is_whole_and_figures_are_null(
    tmp_path: Path, scenes: list[tuple[Detections, Targets]]
) -> None:
    analysis = analysed(*scenes)
    values = json.loads(json.dumps(analysis.to_dict(), allow_nan=False))
    assert values["reliability"]["score_iou_rank_correlation"] is None
    assert sum(len(part.found) for part in by_size(analysis.answers).values()) == 3 * len(scenes)
    write_page(tmp_path / "page.html", "nothing", {}, analysis)
    assert (tmp_path / "page.html").read_text().endswith("</html>\n")


def test_the_page_loads_nothing_and_escapes_names(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "a <b>", {"data": "<script>"}, mixed())
    page = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert (
        page.count("<img") == page.count('src="data:image/') == 6
    )  # curves, scores, overlaps, scenes
    assert "scene 1: 1 right, 1 wrong, 1 missed" in page


def test_the_command_writes_the_page_and_the_same_in_json(tmp_path: Path) -> None:
    weights, page, out = save_untrained(tmp_path), tmp_path / "new" / "r.html", tmp_path / "r.json"
    done = sr3d("eval", "--num", "1", "--weights", weights, "--report", page, "--json", out)
    assert done.exit_code == 0, done.output
    values = json.loads(out.read_text())
    assert set(values["analysis"]) == {
        *("precision_at_recall", "reliability", "confusion", "by_size", "by_distance", "worst"),
        *("pce", "by_nms", "bounds", "aic", "by_visible_share"),
    }
    boxes = sum(row["boxes"] for row in values["per_class"].values())
    assert f"<td>mean</td><td>{boxes}</td>" in page.read_text()
    own = {key: values[key] for key in ("map25", "map50", "per_class")}
    assert own.items() <= values["analysis"]["by_nms"]["3d"].items()
    assert values["analysis"]["aic"]["assigner"] == "center_topk"


def test_the_positives_are_those_of_the_assigner_of_the_configuration(tmp_path: Path) -> None:
    weights, out, page = save_untrained(tmp_path), tmp_path / "r.json", tmp_path / "r.html"
    options = ("--num", "1", "--weights", weights, "--report", page, "--json", out)
    done = sr3d("eval", *options, "--config", "sr3d_paper")
    assert done.exit_code == 0, done.output
    values = json.loads(out.read_text())["analysis"]
    assert values["aic"]["assigner"] == "spota"
    assert values["by_nms"]["bev"]["map25"] == json.loads(out.read_text())["map25"]


def test_merged_views_have_no_network_output_to_judge(tmp_path: Path) -> None:
    weights, out, page = save_untrained(tmp_path), tmp_path / "r.json", tmp_path / "r.html"
    options = ("--num", "1", "--weights", weights, "--report", page, "--json", out)
    done = sr3d("eval", *options, "--merge-views", "2")
    assert done.exit_code == 0, done.output
    values = json.loads(out.read_text())["analysis"]
    assert (values["aic"], values["bounds"], values["by_nms"]) == (None, None, None)
    assert "merged views" in page.read_text()


def test_the_page_of_several_views_is_refused_before_the_work(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert_one_line_error(sr3d("eval", "--views", "2", "--report", page), "--views 2", "--report")
    assert not page.exists()


def test_page_and_json_in_one_file_are_refused(tmp_path: Path) -> None:
    both = tmp_path / "r"
    assert_one_line_error(sr3d("eval", "--report", both, "--json", both), "--json", str(both))
