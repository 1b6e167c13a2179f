"""All checks of a rendered set of objects: the schemas first, then the rules."""

import rules_identity
import rules_network
import rules_processes
import rules_references
import rules_security
import rules_sets
import schemas
from context import Context, about

RULES = (rules_sets, rules_references, rules_processes, rules_security, rules_network,
         rules_identity)


def check(objects, programs):
    """Complaints, sorted. Rules are not asked about objects that no API server would take."""
    complaints = [about(item, reason) for item in objects for reason in schemas.check(item.content)]
    if not complaints:
        context = Context(objects, programs)
        for rules in RULES:
            complaints += rules.check(context)
    return sorted(set(complaints))
