"""Which topics of a recording the transforms come from.

`/tf` and `/tf_static`; in a recording of a robot whose transforms have a namespace,
`/robot1/tf` and `/robot1/tf_static`. What is left out is known by name, so that it can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OPTION = "--tf-namespace"


@dataclass(frozen=True, slots=True)
class TfTopics:
    """The topics to read, and those that hold transforms as well and are left out."""

    is_static: dict[str, bool]
    """What is read, by topic."""
    ignored: tuple[str, ...] = ()
    is_guessed: bool = False
    """Whether the namespace was taken because it is the only one."""

    @property
    def remark(self) -> str:
        """What to tell about the choice, in one line; "" where it goes without saying."""
        if self.is_guessed:
            return (
                f"transforms are those of {', '.join(self.is_static)}, the only ones there are "
                f"({OPTION})"
            )
        if not self.ignored:
            return ""
        namespaces = sorted({name.rpartition("/")[0] or "/" for name in self.ignored})
        return (
            f"transforms on {', '.join(self.ignored)} are left out; to take them instead: "
            f"{' or '.join(f'{OPTION} {name}' for name in namespaces)}"
        )


def choose_tf_topics(topics: Sequence[str], namespace: str | None = None) -> TfTopics | None:
    """Choose among all topics that hold transforms; None where a namespace has none.

    Without a `namespace`: the root's, or those of the only namespace that there is.
    """
    groups: dict[str, list[str]] = {}
    for topic in topics:
        prefix, _, name = topic.rpartition("/")
        if name in ("tf", "tf_static"):
            groups.setdefault(prefix, []).append(topic)
    wanted = "" if namespace is None else namespace.strip("/")
    prefix = f"/{wanted}" if wanted else ""
    if namespace is not None and prefix not in groups:
        return None
    is_guessed = prefix not in groups and len(groups) == 1
    if is_guessed:
        (prefix,) = groups
    chosen = groups.get(prefix, [])
    return TfTopics(
        {topic: topic.endswith("tf_static") for topic in chosen},
        tuple(topic for topic in topics if topic not in chosen),
        is_guessed,
    )
