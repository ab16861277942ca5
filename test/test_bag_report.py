"""The report of an evaluation: one page that loads nothing, whatever a recording's texts hold."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from small_bags import CENTER, SIZE, BoundingBox, write_bag
from typer.testing import CliRunner

from sr3d_core.picture import Outcome, outcome_picture
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Targets
from sr3d_ros.bag.commands import app

EVIL = '<script>alert("x")</script> $\\frac{a}$ é 家 \x01'
PICTURES = {"image/png": "PNG", "image/jpeg": "JPEG"}


class Flickering(BoundingBox):
    """Sees the object in every second cloud, and a ghost in all of them."""

    def detect(self, cloud: PointCloud) -> Detections:
        found = super().detect(cloud)
        ghost = found.boxes.array + torch.tensor([0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        rows = torch.cat([found.boxes.array, ghost])[0 if len(self.clouds) % 2 else 1 :]
        labels = torch.zeros(len(rows), dtype=torch.int64)
        scores = torch.linspace(0.9, 0.6, len(rows))
        return Detections(Boxes3D.from_array(rows), scores, labels)


class Page(HTMLParser):
    """What a page shows and what it would load."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[Image.Image] = []
        self.text = ""
        self.policy = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        assert not any(name == "href" or name.startswith("on") for name in values)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        if "src" in values:
            kind, _, data = (values["src"] or "").partition(";base64,")
            picture = Image.open(BytesIO(base64.b64decode(data, validate=True)))
            assert picture.format == PICTURES[kind.removeprefix("data:")]
            self.pictures.append(picture)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("report")
    bag, truth = write_bag(folder / "drive", "sqlite3"), folder / "truth <b>.json"
    box = {"class": "chair", "center": CENTER, "size": SIZE, "id": EVIL}
    truth.write_text(json.dumps({"frame": "map", "static": [box]}))
    path = folder / "new" / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: Flickering())
        arguments = (
            "eval",
            bag,
            "--gt",
            truth,
            "--report",
            path,
            "--worst",
            "1",
            "--compare",
            "o",
        )
        result = CliRunner().invoke(app, [*map(str, arguments), "--pace", "1"])
    assert result.exit_code == 0, result.output
    assert path.stat().st_size < 3e6
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_loads_and_runs_nothing(report: Page) -> None:
    assert {"script", "link", "iframe", "object", "base", "form", "a"}.isdisjoint(report.tags)
    assert "default-src 'none'" in report.policy


def test_what_a_recording_says_is_text(report: Page) -> None:
    assert EVIL.replace("\x01", "") in report.text
    assert "truth <b>.json" in report.text
    assert "b" not in report.tags


def test_plots_and_the_worst_frames_are_in_the_page(report: Page) -> None:
    kinds = [picture.format for picture in report.pictures]
    assert kinds.count("JPEG") == 1  # --worst
    assert kinds.count("PNG") == 3  # precision, timeline, latency
    assert all(picture.width > 400 for picture in report.pictures)


def test_figures_are_in_the_page(report: Page) -> None:
    for words in ("chair", "AP25", "flickers", "p99", "p95", "/points", "0.0 [+0.0, +0.0]"):
        assert words in report.text, words


def test_a_picture_shows_what_is_right_wrong_and_missed() -> None:
    """From above: green on the left, orange in the middle, red on the right."""

    def found(x: float) -> Detections:
        rows = torch.tensor([[x, 0.0, 0.5, 1.0, 1.0, 1.0, 0.0]])
        return Detections(Boxes3D.from_array(rows), torch.ones(1), torch.zeros(1).long())

    missed = Targets(found(4.0).boxes, torch.zeros(1).long())
    cloud = PointCloud.single(torch.zeros(1, 3), torch.full((1, 3), 0.5))
    outcome = Outcome(right=found(-4.0), wrong=found(0.0), missed=missed)
    content = outcome_picture(cloud, outcome, ("chair",), "title")
    picture = np.asarray(Image.open(BytesIO(content)).convert("HSV"), dtype=np.int64)
    above = picture[80:-80, 40 : picture.shape[1] // 2]  # without title, legend and the side view
    hue, is_strong = above[..., 0], above[..., 1] > 100
    places = [
        np.nonzero(is_strong & (abs(hue - middle) < 12))[1]  # of 256: green, orange, red
        for middle in (94, 23, 250)
    ]
    assert all(len(columns) > 50 for columns in places)
    left, middle, right = (np.median(columns) for columns in places)
    assert left < middle < right
