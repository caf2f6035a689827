"""How near to the photo a result shall be, from 0 to 1 and 0.5 by default, in terms of a method's plan."""

from dataclasses import replace

from sdsr.restoration.plan import Plan
from sdsr.restoration.wishing import by_decoder as by_decoder


def by_guidance(plan: Plan, fidelity: float) -> Plan:
    """Return the plan with other guidance: none at 1, the plan's own at 0.5, its distance from none doubled at 0.

    Guidance leads away from what the negative prompt calls the photo's defects, and from the photo with them.
    """
    return replace(plan, guidance=1 + 2 * (1 - fidelity) * (plan.guidance - 1))
