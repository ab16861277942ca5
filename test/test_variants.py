"""A study of variants trains each alike but for its own settings, and tabulates what was found."""

from __future__ import annotations

import pytest
from study_cases import assert_differs_in_its_own_keys_alone
from variants import VARIANTS, table

from sr3d_core.study.settings import Study

STUDY = Study.read(VARIANTS)


@pytest.mark.parametrize("name", STUDY.variants)
def test_a_variant_is_a_training_that_differs_in_its_own_settings_alone(name: str) -> None:
    assert_differs_in_its_own_keys_alone(STUDY, name)


def test_a_table_has_means_over_seeds_and_their_spread() -> None:
    def figures(ap50: float) -> dict[str, object]:
        mean = {"ap25": {"mean": 0.75}, "ap50": {"mean": ap50}}
        return {"all": mean, "frame": mean, "scan": mean, "slopes": {}}

    lines = table({"one": [figures(0.5)], "two": [figures(0.5), figures(0.6)]}).splitlines()
    assert lines[2].split("|")[1:5] == [" one ", " 1 ", " 75.0 ", " 50.0 "]
    assert lines[3].split("|")[4] == " 55.0 ± 7.1 "
    assert len({line.count("|") for line in lines}) == 1
