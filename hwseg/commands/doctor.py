"""`hwseg doctor`: what is installed, for what, and the cure for what is missing."""

from __future__ import annotations

import json

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> int:
    """List each external tool, its version, what needs it, and the cure where it is missing.

    The exit status is 0 if hwseg itself can run; each missing tool stops only the commands that need it.
    """
    from hwseg.toolchain.inventory import inventory

    tools = inventory()
    if as_json:
        rows = [
            {
                "name": tool.name,
                "version": tool.version,
                "needed_for": tool.needed_for,
                "base": tool.base,
                "cure": None if tool.found else tool.cure,
            }
            for tool in tools
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        from rich.table import Table
        from rich.text import Text

        from hwseg.commands.terminal import console

        table = Table("tool", "version", "needed for", "cure", box=None, pad_edge=False)
        for tool in tools:
            missing = Text("missing", "red" if tool.base else "dim")
            table.add_row(tool.name, tool.version or missing, tool.needed_for, "" if tool.found else tool.cure)
        console().print(table)
    return int(any(tool.base and not tool.found for tool in tools))
