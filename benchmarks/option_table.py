"""The README's table of options."""

from __future__ import annotations

from lmc.executing.options import OPTIONS


def option_table() -> str:
    """Every option, from the table that all of them are made of."""
    lines = ["| option of pytest | of `lmc` | environment | default | what it is |", "|---|---|---|---|---|"]
    for option in OPTIONS:
        default = f"`{option.default}`" if option.default else option.otherwise
        names = f"`--lmc-{option.name}` | `--{option.name}` | `{option.variable}`"
        lines.append(f"| {names} | {default} | {option.help} |")
    return "\n".join(lines)
