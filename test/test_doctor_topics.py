"""What the doctor concludes from what came on a topic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from doctor_harness import assert_failed

from sr3d_ros.doctor.topics import (
    PROFILE,
    SEGMENT_BYTES,
    Publisher,
    TopicSample,
    check_arrival,
    check_qos,
    check_stamp,
    check_topic,
    not_one_topic,
)
from sr3d_ros.sensors.ros_names import (
    CLOUD_TYPE,
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    IMU_TYPE,
    INFO_TYPE,
)

CAMERA = Publisher("camera", "reliable")
GAZEBO = Publisher("gazebo", "best_effort")
HEALTHY = TopicSample(
    topic="/points",
    kind=CLOUD_TYPE,
    argument="points",
    topics={"/points": (CLOUD_TYPE,), "/depth": ("sensor_msgs/msg/Image",)},
    publishers=(CAMERA,),
    waited_s=1.1,
    arrivals_s=(0.6, 0.7, 0.8, 0.9, 1.0),
    age_s=0.03,
)


def test_a_healthy_topic_has_no_findings() -> None:
    checks = (check_topic(HEALTHY), check_qos(HEALTHY, "best_effort"), check_stamp(HEALTHY))
    assert [finding.status for finding in checks] == ["ok"] * 3
    assert "10.0 Hz" in check_arrival(HEALTHY).text


def test_a_wrong_topic_is_named_with_the_right_one() -> None:
    wrong = replace(HEALTHY, topic="/cloud", publishers=())
    assert_failed(check_topic(wrong), "nobody publishes /cloud", "detector with points:=/points")
    assert "the doctor with --points /points" in check_topic(wrong).remedy


def test_incompatible_qos_is_found() -> None:
    finding = check_qos(replace(HEALTHY, publishers=(GAZEBO,)), "reliable")
    assert_failed(finding, "incompatible", "set input.reliability to best_effort")


def test_a_sensor_that_sends_nothing_is_found() -> None:
    silent = replace(HEALTHY, arrivals_s=(), waited_s=8.0)
    assert_failed(check_arrival(silent), "no message for 8 s", "the sensor has stopped")


def test_a_topic_of_another_type_is_found() -> None:
    image = replace(HEALTHY, topic="/depth")
    finding = check_topic(image)
    assert_failed(finding, "/depth carries sensor_msgs/msg/Image", "points:=/points")
    assert "input.kind:=depth" in finding.remedy
    assert "input.depth_transport:=raw" in finding.remedy


def test_depth_of_another_transport_is_told_with_its_parameter() -> None:
    """The other transport stays at the same input: only the one parameter differs."""
    topics = {"/depth": [COMPRESSED_IMAGE_TYPE], "/rgb": [IMAGE_TYPE]}
    image = replace(HEALTHY, topic="/depth", kind=IMAGE_TYPE, argument="depth", topics=topics)
    remedy = check_topic(image).remedy
    assert "input.depth_transport:=compressedDepth" in remedy
    assert "input.kind" not in remedy
    info = replace(image, kind=INFO_TYPE, argument="camera_info")
    assert "input.depth_transport" not in check_topic(info).remedy


def test_without_any_cloud_the_driver_and_the_domain_are_suggested() -> None:
    nothing = replace(HEALTHY, topic="/x", publishers=(), topics={})
    assert_failed(check_topic(nothing), "nobody publishes /x", "ROS_DOMAIN_ID")


@pytest.mark.parametrize(
    ("kind", "argument", "option"),
    [
        (CLOUD_TYPE, "points", "--points /a"),
        (IMAGE_TYPE, "depth", "--points /a"),
        (INFO_TYPE, "camera_info", "--ros-args -r '~/input/camera_info:=/a'"),
    ],
)
def test_of_several_topics_one_must_be_chosen(kind: str, argument: str, option: str) -> None:
    finding = not_one_topic(kind, argument, ["/a", "/b"])
    assert_failed(finding, "2 topics have a", option)
    assert ": /a, /b" in finding.text


def test_without_an_imu_it_is_the_imu_that_fails() -> None:
    finding = not_one_topic(IMU_TYPE, "imu", [])
    assert finding.name == "imu"
    assert_failed(finding, "no topic has a Imu", "ROS_DOMAIN_ID")


def test_one_publisher_of_two_that_is_not_heard_is_a_warning() -> None:
    finding = check_qos(replace(HEALTHY, publishers=(CAMERA, GAZEBO)), "reliable")
    assert finding.status == "warn"


def test_clouds_that_are_all_lost_are_told_from_a_stopped_sensor() -> None:
    lost = replace(HEALTHY, arrivals_s=(), num_lost=40, waited_s=4.0)
    assert_failed(check_arrival(lost), "all 40 messages of 4 s were lost", "set input.reliability")
    assert "fastdds_large_data.xml" in check_arrival(lost).remedy
    assert "input.reliability" not in check_arrival(replace(lost, asked="reliable")).remedy


def test_clouds_that_are_partly_lost_are_a_warning() -> None:
    finding = check_arrival(replace(HEALTHY, publishers=(GAZEBO,), num_lost=15))
    assert finding.status == "warn"
    assert "5 of 20" in finding.text
    assert "15" in finding.text
    assert finding.remedy.startswith("start the publisher in a shell with export FASTDDS_DEFAULT")


def test_where_the_profile_is_in_use_it_is_not_advised_again() -> None:
    lossy = replace(HEALTHY, publishers=(GAZEBO,), num_lost=15, has_profile=True)
    remedy = check_arrival(lossy).remedy
    assert "export FASTDDS_DEFAULT_PROFILES_FILE" not in remedy
    assert "is in use here" in remedy


@pytest.mark.parametrize("has_profile", [False, True])
def test_messages_that_are_too_large_for_the_profile_need_a_larger_one(has_profile: bool) -> None:
    cloud = SimpleNamespace(data=bytes(29_500_000))
    lossy = replace(
        HEALTHY, publishers=(GAZEBO,), num_lost=15, latest=cloud, has_profile=has_profile
    )
    remedy = check_arrival(lossy).remedy
    assert "segment_size to 118000000" in remedy
    assert "67108864 hold 2 of these" in remedy


def test_the_shared_memory_of_the_profile_is_what_the_doctor_takes_it_for() -> None:
    profile = (Path(__file__).parent.parent / PROFILE).read_text()
    assert f"<segment_size>{SEGMENT_BYTES}</segment_size>" in profile


def test_a_topic_of_two_types_is_a_warning_that_names_the_other() -> None:
    compressed = "sensor_msgs/msg/CompressedImage"
    finding = check_topic(
        replace(HEALTHY, kind=IMAGE_TYPE, topics={"/points": (compressed, IMAGE_TYPE)})
    )
    assert finding.status == "warn"
    assert finding.text.startswith("/points from camera;")
    assert compressed in finding.text


@pytest.mark.parametrize(("num_came", "num_lost"), [(5, 2), (40, 4)])
def test_few_losses_are_no_alarm(num_came: int, num_lost: int) -> None:
    arrivals_s = tuple(0.1 * number for number in range(num_came))
    sample = replace(HEALTHY, arrivals_s=arrivals_s, num_lost=num_lost, waited_s=arrivals_s[-1])
    assert check_arrival(sample).status == "ok"


def test_silence_of_a_best_effort_publisher_may_be_either() -> None:
    silent = replace(HEALTHY, publishers=(GAZEBO,), arrivals_s=())
    finding = check_arrival(silent)
    assert_failed(finding, "although somebody publishes", "the sensor has stopped")
    assert "fastdds_large_data.xml" in finding.remedy


def test_a_sensor_that_stops_while_it_is_watched_is_found() -> None:
    finding = check_arrival(replace(HEALTHY, waited_s=8.0))
    assert_failed(finding, "5 came, then nothing for 7.0 s", "start the driver again")


def test_a_single_message_has_no_rate() -> None:
    assert check_arrival(replace(HEALTHY, arrivals_s=(1.0,))).text == "1 message"


@pytest.mark.parametrize(("age_s", "where"), [(86400.0, "in the past"), (-2.0, "in the future")])
def test_another_clock_is_a_warning(age_s: float, where: str) -> None:
    finding = check_stamp(replace(HEALTHY, age_s=age_s))
    assert finding.status == "warn"
    assert where in finding.text
    assert "use_sim_time" in finding.remedy
