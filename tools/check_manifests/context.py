"""What the rules look at, and what they say."""

import dataclasses
import pathlib

import pods

ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True, order=True)
class Complaint:
    file: str
    reason: str

    def __str__(self):
        return f"{self.file}: {self.reason}"


class Context:
    """A rendered set of objects, for the rules."""

    def __init__(self, objects, programs):
        self.objects = objects
        self.programs = programs
        self.templates = pods.pod_templates(objects)

    def of_kind(self, *kinds):
        return [item for item in self.objects if item.kind in kinds]

    def names(self, kind):
        return {item.name for item in self.objects if item.kind == kind}

    def containers(self):
        """(template, container) of all containers."""
        return [(template, container) for template in self.templates
                for container in template.containers()]


def about(item, reason):
    """A complaint about an object, or about a template of one."""
    owner = getattr(item, "owner", item)
    path = pathlib.Path(owner.origin).resolve()
    try:
        path = path.relative_to(ROOT)
    except ValueError:
        pass
    return Complaint(str(path), f"{item}: {reason}")


def in_container(template, container, reason):
    return about(template, f"container {container.get('name')}: {reason}")
