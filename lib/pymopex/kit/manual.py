"""Texts made from the parameter sheets: help, and templates of blocks."""

from __future__ import annotations

import textwrap

from pymopex.kit import driver, legacy, products, sheets
from pymopex.kit.sheets import Parameter, Sheet

_WIDTH = 110


def task_help(task: str) -> str:
    """Give what ``mopex TASK --help`` prints."""
    sheet = sheets.sheet(task)
    lines = [f"{task}: {sheet.title}", "", *textwrap.wrap(sheet.purpose + ".", _WIDTH), ""]
    lines += [f"usage: mopex {task} NAMELIST [KEY=VALUE ...]"]
    lines += [*(f"       {usage}" for usage in legacy.usages(task)), ""]
    lines += facts(sheet)
    if sheet.own:
        lines += ["", f"Parameters (&{sheet.block}):"]
        lines += [line for parameter in sheet.own for line in _help_lines(parameter)]
    if sheet.uses:
        lines += ["", "Global keys:"]
        lines += [line for p in sheet.parameters if not p.block for line in _help_lines(p)]
    return "\n".join(lines) + "\n"


def driver_help(pipeline: str) -> str:
    """Give what a shell driver prints for ``--help``."""
    many = pipeline == "flow"
    flags = [
        (flag, text) for flag, (_, text) in driver.flags_of(pipeline).items() if not (many and flag == "n")
    ]
    what = "[FLAGS] [KEY=VALUE ...] NAMELIST NAMELIST ..." if many else "-n NAMELIST [FLAGS] [KEY=VALUE ...]"
    lines = [f"usage: {pipeline}.sh {what}", ""]
    lines += [f"  -{flag} VALUE  {text}" for flag, text in flags]
    if pipeline not in sheets.SINGLE:
        lines += ["  --like IMAGE  take the grid of a FITS image for the mosaic (Like_Image)"]
        lines += ["  --memory SIZE  memory for all processes together, such as 1GB: smaller tiles (Memory)"]
        lines += ["  --skip-bad-frames  leave out frames that cannot be used"]
    lines += [
        "  --from MODULE  begin with this module, on the products that are there; --only MODULE  run it alone",
        "  --resume  skip the modules that an earlier run has done, if nothing they depend on has changed",
    ]
    lines += [""]
    if not many:
        lines.append("modules, each run if the namelist switches it on:")
        for task in driver.pipeline_tasks(pipeline):
            sheet = sheets.sheet(task)
            lines.append(f"  {sheet.triggers[0] if sheet.triggers else task:28s}{sheet.purpose}")
    return "\n".join(lines) + "\n"


def template(task: str) -> str:
    """Give a commented block of a namelist with the defaults of a task."""
    return "".join(block_lines(sheets.sheet(task), {}))


def block_lines(sheet: Sheet, values: dict[str, str], pipeline: str = "") -> list[str]:
    """Give the lines of a block; `values` are used in place of defaults."""
    purpose = sheet.purpose if sheet.purpose[1].isupper() else sheet.purpose[0].lower() + sheet.purpose[1:]
    lines = [f"# {sheet.title}: {purpose}.\n"]
    if not sheet.block:
        return lines
    lines.append(f"&{sheet.block}\n")
    for parameter in sheet.own:
        value = values.get(parameter.name.casefold(), parameter.default_in(pipeline))
        empty = value == "None"
        if pipeline and (empty or parameter.meaning.startswith("kept for old")):
            continue
        unit = f"[{parameter.unit}] " if parameter.unit else ""
        assignment = f"# {parameter.name} =" if empty else f" {parameter.name} = {quoted(parameter, value)},"
        lines.append(f"{assignment:44s} # {unit}{parameter.meaning}\n")
    lines.append("&END\n")
    return lines


def quoted(parameter: Parameter, value: str) -> str:
    """Give a value as a namelist holds it."""
    words = parameter.kind in ("text", "choice") and not value.replace(".", "").replace("-", "").isdigit()
    return f"'{value}'" if words else value


def facts(sheet: Sheet) -> list[str]:
    """Give the switch of a task, the tasks it needs, and its products, a line each."""
    pairs = (
        ("switch", ", ".join(sheet.triggers)),
        ("needs", ", ".join(sheet.needs)),
        ("makes", ", ".join(products.made_by(sheet.task))),
    )
    return [f"{name}: {text}" for name, text in pairs if text]


def _help_lines(parameter: Parameter) -> list[str]:
    unit = f"[{parameter.unit}] " if parameter.unit else ""
    text = f"{unit}{parameter.meaning} ({parameter.allowed}; default {default_text(parameter) or 'none'})"
    return textwrap.wrap(
        f"{parameter.name:27s} {text}", _WIDTH, initial_indent="  ", subsequent_indent=" " * 30
    )


def default_text(parameter: Parameter) -> str:
    """Give the default in words, with those of the pipelines where it differs; empty if there is none."""
    own = "" if parameter.default == "None" else parameter.default.replace("{pipeline}", "<pipeline>")
    others = [f"{value} in {name}" for name, value in parameter.by_pipeline.items()]
    return "; ".join([own or "none", *others] if others else [own])
