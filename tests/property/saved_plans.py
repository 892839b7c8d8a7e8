"""A plan on its way through the file that `partita plan -o json` writes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from assets_core.planning.estimate import Estimate
from assets_core.planning.planner import plan_run
from assets_core.planning.saved_plan import saved_plan_as_json
from cli.commands.plan_file import plan_of
from cli.render.plans import plan_report
from cli.render.printer import Printer
from cli.render.report import Output

if TYPE_CHECKING:
    from assets_core.planning.planner import PlanRequest
    from assets_core.planning.saved_plan import SavedPlan
    from assets_core.planning.staleness import Facts


def written_plan(about: Facts, request: PlanRequest) -> str:
    """What `partita plan -o json` prints."""
    out = io.StringIO()
    plan = plan_run(about, request)
    saved = saved_plan_as_json(plan, about, request, selection="typed", range_text="latest")
    report = plan_report(
        "plan", plan, saved=saved, estimate=Estimate((), ()), selection="typed", spans=[]
    )
    Printer(out, io.StringIO(), Output.JSON, color_out=False, color_err=False).report(report)
    return out.getvalue()


def saved_plan(about: Facts, request: PlanRequest) -> SavedPlan:
    """The plan of now, as it is read from that file later."""
    return plan_of(written_plan(about, request), "the plan")
