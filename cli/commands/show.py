"""`partita show`: one asset, its definition and its state."""

from __future__ import annotations

import click

from cli.commands.options import TOKEN, PartitaCommand, Settings, complete_assets, open_project


@click.command("show", cls=PartitaCommand)
@click.argument("asset", metavar="ASSET", type=TOKEN, shell_complete=complete_assets)
@click.pass_obj
def command(settings: Settings, asset: str) -> int:
    """Show one asset: definition, state, where its data is."""
    from datetime import UTC, datetime  # noqa: PLC0415 - `--help` needs none of it

    from cli.commands.conditions import statuses_of  # noqa: PLC0415
    from cli.commands.looking import look_only  # noqa: PLC0415
    from cli.commands.manifest_graph import graph_of  # noqa: PLC0415
    from cli.render.checks import check_record, failed_lines  # noqa: PLC0415
    from cli.render.listing import show_report  # noqa: PLC0415
    from cli.render.statuses import state_blocks, status_as_json  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    graph = graph_of(project.manifest)
    graph.spec(asset)  # an unknown name is an error before anything is imported
    definition = next(one for one in project.manifest.assets if one.key == asset)
    look_only(project, printer)
    facts = project.facts(datetime.now(UTC))
    [status] = statuses_of(facts, project.store, [asset], schemas=True)
    spec = facts.graph.spec(asset)
    failed = [
        one.outcome
        for one in project.store.failed_checks(asset, spec.partitions.space)
        if one.outcome.check in spec.checks
    ]
    printer.report(
        show_report(
            definition,
            graph.downstream(asset),
            {**status_as_json(status), "failed_checks": [check_record(one) for one in failed]},
            [*state_blocks(status, unicode=printer.unicode), *failed_lines(failed)],
        )
    )
    return 0
