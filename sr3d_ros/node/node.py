"""The detector as a ROS 2 lifecycle node: frames in, labelled boxes out, words about failures.

    ~/input/*               node/inputs.py    newest only
    ~/output/*, ~/*_info    node/outputs.py   an empty array = looked, found nothing
    ~/status, /diagnostics  node/status.py
    ~/enable, ~/detect_once, ~/load_model           node/services.py
    ~/find_objects, ~/save_map, ~/load_map, ~/clear_map, ~/reset_scene  node/map_services.py

The executor's thread hands frames over and answers, the worker's thread detects. A frame that
fails publishes nothing, is counted under its reason and explained in the log; the node goes on. A
model that cannot be loaded refuses the configuration; the node stays alive and says why.
Runs on Humble and newer.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from sr3d_core.detector import Detector
from sr3d_ros.diagnostics.counters import CloudCounters
from sr3d_ros.diagnostics.reports import Situation
from sr3d_ros.node.frames import FrameProcessor, Frames
from sr3d_ros.node.inputs import Inputs
from sr3d_ros.node.interrupts import Interrupts
from sr3d_ros.node.live_parameters import LiveParameters
from sr3d_ros.node.managed import ManagedNode, telling
from sr3d_ros.node.map_services import MapServices
from sr3d_ros.node.services import Answer, Services
from sr3d_ros.node.setup import Setup
from sr3d_ros.node.status import Reporter
from sr3d_ros.node.transforms import Tf2Source
from sr3d_ros.parameters.command_line import explained
from sr3d_ros.parameters.detector import load_camera, load_detector, weights_of
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tf.source import PatientTransforms

Load = Callable[[Parameters], Detector]
"""Makes the detector that parameters name; raises ValueError or OSError with the reason."""

TICK_S = 1.0
CLOSING_S = 2.0
"""How long a frame in hand may hold up the end; launch kills after five seconds."""

_DONE, _REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class DetectorNode(ManagedNode):
    """Publishes the boxes of every frame that it finds time for; raises `ParameterError`.

    `arguments` are those of the process.
    """

    def __init__(self, load: Load = load_detector, arguments: Sequence[str] = ()) -> None:
        try:
            super().__init__(
                "sr3d_detector",
                automatically_declare_parameters_from_overrides=True,
                allow_undeclared_parameters=True,  # refused by ourselves, in better words
            )
        except ValueError as error:
            raise explained(error, arguments) from error
        self._load = load
        self._is_active, self._is_enabled, self._is_shut_down = False, True, False
        self._processor: FrameProcessor | None = None
        self._inputs: Inputs | None = None
        self._refusal = self._ignored = ""
        self._live = LiveParameters(self, self._apply)
        parameters = self._live.values
        self._tf2 = Tf2Source(self)
        self._transforms = PatientTransforms(self._tf2, parameters.transform_timeout_s)
        self._counters = CloudCounters(late_ms=parameters.late_ms)
        self._setup = Setup(self, arguments, parameters)
        self._answers = Services(self, self)
        self._map_services = MapServices(self, lambda: self._processor)
        self._reporter = Reporter(self, self._counters, self._situation, self._advice_on_silence)
        self._frames = Frames(
            self,
            self._counters,
            is_wanted=lambda number: self._is_enabled or self._answers.is_wanted(number),
            on_done=self._answers.frame_done,
            on_trouble=self._reporter.publish_status,
        )
        self._frames.limit_age(parameters.max_age_s)
        # Simulated time may stand still.
        self.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def start(self) -> bool:
        """Configure and activate; false where the configuration was refused."""
        return self.trigger_configure() == _DONE and self.trigger_activate() == _DONE

    def close(self) -> bool:
        """Stop working on frames, then leave the graph; false if a frame is still in hand."""
        self._stop()
        is_idle = self._frames.close(CLOSING_S)
        self.destroy_node()
        return is_idle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and advertise; refused, with the reason, where that is impossible."""
        parameters = self._live.values
        try:
            detector = self._load(parameters)
            camera = load_camera(parameters, detector.classes, self._load)
            frames, counters = self._frames, self._counters
            self._inputs = Inputs(
                self,
                parameters,
                frames.offer,
                frames.refuse,
                counters.count_lost,
                counters.count_fallback,
            )
            self._processor = FrameProcessor(
                self, detector, parameters, self._transforms, self._inputs.imu, camera
            )
            self._ignored = self._live.declare_classes(detector.classes)
        except Exception as error:  # rclpy would swallow it
            self._refusal = f"cannot configure: {_told(error)}"
            self.get_logger().error(self._refusal)
            self.on_cleanup(state)
            return _REFUSED
        self._refusal = ""
        if self._ignored:
            self.get_logger().warning(self._ignored)
        return _DONE

    @telling
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen and work on what comes."""
        assert self._processor is not None
        assert self._inputs is not None
        self._is_active = True
        self._setup.note_start()
        self._frames.start(self._processor)
        self.follow_requests()
        model = self._processor.model
        self.get_logger().info(
            f"ready: {len(model.detector.classes)} classes, weights {model.weights}, "
            f"{model.detector.engine} on {model.detector.device}; waiting for frames on "
            f"{self._inputs.topic}"
        )
        return _DONE

    @telling
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the input topics and wipe the markers; then nothing more is published."""
        self._stop()
        if self._processor is not None:
            self._processor.pause()
        return _DONE

    @telling
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the model and leave the output topics."""
        processor, self._processor, self._inputs = self._processor, None, None
        if processor is not None:
            processor.close()
        return _DONE

    @telling
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As deactivating and cleaning up, for good."""
        self._is_shut_down = True
        self._setup.note_start()
        return self.on_error(state)

    @telling
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to the state without a model, from which the node can be configured again."""
        self.on_deactivate(state)
        return self.on_cleanup(state)

    def _stop(self) -> None:
        self._is_active = False
        if self._inputs is not None:
            self._inputs.close()
        self._transforms.give_up()
        self._frames.stop()
        self._answers.give_up("the node was deactivated")

    @property
    def _state(self) -> str:
        if self._processor is None:
            return "finalized" if self._is_shut_down else "unconfigured"
        return "active" if self._is_active else "inactive"

    @property
    def _way_to_active(self) -> str:
        return "start it again" if self._is_shut_down else "configure and activate it first"

    def set_enabled(self, is_enabled: bool) -> str:
        """Listen to the sensor or not; comes back with what to say."""
        self._is_enabled = is_enabled
        if not is_enabled:
            self._frames.pause()
        self.follow_requests()
        state = "" if self._is_active else f"; the node is {self._state}"
        return ("enabled" if is_enabled else "disabled") + state

    def follow_requests(self) -> str:
        """Listen if anybody wants frames; comes back with why that is impossible, or ""."""
        if self._inputs is None or not self._is_active:
            return f"the node is {self._state}; {self._way_to_active}"
        if not self._is_enabled and not self._answers.wants_frame:
            self._inputs.close()
        elif not self._inputs.is_open:
            self._counters.start_listening()
            self._inputs.open()
        return ""

    def next_frame(self) -> int:
        """The number of the first frame that arrives from now on."""
        return self._frames.num_arrived + 1

    def loading(self) -> Callable[[], Callable[[], Answer]]:
        """What loads the model in another thread; it comes back with what swaps it in."""
        parameters = self._live.values

        def load() -> Callable[[], Answer]:
            try:
                detector = self._load(parameters)
                camera = load_camera(parameters, detector.classes, self._load)
            except Exception as error:  # whatever it is, the model in use stays
                refusal = f"cannot load the model: {_told(error)}"
                return lambda: self._keep_model(refusal)
            return lambda: self._swap_model(detector, camera, parameters)

        return load if self._processor is not None else lambda: self._start_late

    def _start_late(self) -> Answer:
        """A node that could not start for want of a model tries again."""
        is_done = self._live.values.autostart and self.start()
        return is_done, self._refusal or f"the node is {self._state}"

    def _keep_model(self, refusal: str) -> Answer:
        self._refusal = refusal
        self.get_logger().error(f"{refusal}; the model in use stays")
        return False, refusal

    def _swap_model(
        self, detector: Detector, camera: Detector | None, loaded: Parameters
    ) -> Answer:
        if self._processor is None:
            return False, "the node was cleaned up while the model was loaded"
        self._processor.swap(detector, camera, loaded)
        self._refusal, self._ignored = "", self._live.declare_classes(detector.classes)
        text = f"loaded {self._processor.model.weights}, {len(detector.classes)} classes"
        self.get_logger().info(text)
        return True, "; ".join(filter(None, [text, self._ignored]))

    def _apply(self, parameters: Parameters) -> None:
        """Work by what was just set; raises ValueError where that is impossible."""
        if self._processor is not None:
            self._processor.apply(parameters)
        self._frames.limit_age(parameters.max_age_s)

    def _tick(self) -> None:
        trouble = self._counters.snapshot().last_error or "no frame came"
        self._answers.give_up(trouble, now_s=time.monotonic())
        if self._inputs is not None:
            self._inputs.refresh()
        self._setup.refresh()
        self._reporter.tick()

    def _advice_on_silence(self, silence_s: float) -> str:
        has_received = self._counters.snapshot().received > 0
        inputs = self._inputs
        return "" if inputs is None else inputs.advice_on_silence(silence_s, has_received)

    @property
    def _input_advice(self) -> str:
        """What is odd about the frames, and about the topics that they come from."""
        said = [each.advice for each in (self._inputs, self._processor) if each is not None]
        return "; ".join(filter(None, said))

    def _situation(self) -> Situation:
        """What diagnostics need to know beside the counts."""
        parameters, processor, inputs = self._live.values, self._processor, self._inputs
        return Situation(
            state=self._state,
            is_listening=inputs is not None and inputs.is_open,
            topic="" if inputs is None else inputs.topic,
            silence_warning_s=parameters.silence_warning_s,
            qos_advice="" if inputs is None else inputs.qos_advice,
            transform_advice=self._tf2.trouble,
            input_advice=self._input_advice,
            fallback_advice="" if inputs is None else inputs.fallback_advice,
            setup_advice=self._setup.advice,
            late_ms=parameters.late_ms,
            error_after_s=parameters.error_after_s,
            model=weights_of(parameters) if processor is None else processor.model.weights,
            device="" if processor is None else str(processor.model.detector.device),
            engine="" if processor is None else processor.model.detector.engine,
            classes=() if processor is None else tuple(processor.model.detector.classes),
            refusal=self._refusal,
            ignored=self._ignored,
            memory={} if processor is None else processor.memory,
            memory_warning="" if processor is None else processor.model.guard.warning,
        )


def _told(error: Exception) -> str:
    """An error in words; ours explain themselves."""
    is_ours = isinstance(error, (ValueError, OSError))
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


def main(arguments: Sequence[str] | None = None, load: Load = load_detector) -> int:
    """Run the node until it is interrupted; the exit status is 1 where it cannot start."""
    given = sys.argv if arguments is None else arguments
    interrupts = Interrupts()
    try:
        rclpy.init(args=list(given))
    except Exception as error:  # of rclpy: RCLError, which is not public
        return _cannot_start(explained(error, given))
    node, is_idle = None, True
    try:
        rclpy.get_global_executor()  # made now: interrupted while it is, rclpy prints a traceback
        node = DetectorNode(load, given)
        if node.get_parameter("lifecycle.autostart").value:
            node.start()
        gc.collect()
        gc.freeze()  # what is left is no garbage: shorter pauses, a quick end
        interrupts.leave_to_rclpy()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # asked to stop
    except Exception as error:
        if node is None and isinstance(error, ValueError):
            return _cannot_start(error)
        if rclpy.ok():
            raise  # otherwise: asked to stop in the middle of a call of rclpy
    finally:
        interrupts.leave_to_rclpy()  # a second Ctrl-C is not to break the end
        if node is not None:
            is_idle = node.close()
        node = None
        _collect_the_node()
        _shut_down()
    if not is_idle:
        # The interpreter cannot end a thread inside of the network; leaving it behind may crash.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _shut_down() -> None:
    """End rclpy, whose signal thread may be doing so at this moment."""
    try:
        rclpy.try_shutdown()
    except Exception:  # RCLError, which is not public: it has been shut down meanwhile
        if rclpy.ok():
            raise


def _collect_the_node() -> None:
    """Let go of the node's participant in DDS, which lives as long as the node's handle in rclpy.

    The handle is in a cycle of references, and a frozen cycle is never collected: other processes
    would take the node for alive until its lease ends, 20 s later, and its shared memory would
    stay for good.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # what is left ends with the process


def _cannot_start(error: Exception) -> int:
    rclpy.logging.get_logger("sr3d_detector").fatal(f"cannot start: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
