"""`redis-debug cache`: look at cached entities, and have them forgotten everywhere (spec/miner.md §9.1, §9.2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from relay_cli.redis_debug.cache_cleanup import clean_up, plan_cleanup
from relay_cli.redis_debug.cache_types import ALL, SUPPLIER, TYPES, CacheEntries
from relay_cli.redis_debug.deployment import Deployment
from relay_cli.tables import json_option, printable, show, show_fields, show_rows

ASK_ABOVE: Final = 100
PROGRESS: Final = 25
SHOWN_OF_A_VALUE: Final = 500
WITHOUT_SUPPLIERS = (
    "relayers answer 503 for a supplier that is not in the store until a miner writes it again (up to 60 s)"
)


@click.command("cache")
@click.option("--type", "kind", required=True, type=click.Choice([*TYPES, ALL]), help="Of the entity.")
@click.option("--key", default="", help="One entity: an address or a service id.")
@click.option("--list", "listing", is_flag=True, help="What is cached, and what is only known.")
@click.option("--invalidate", is_flag=True, help="Delete, and tell every process to forget. Writes.")
@click.option("--all", "everything", is_flag=True, help="With --invalidate: everything of the type.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --invalidate: the entities of a file, one a line; blank lines and # are passed over.",
)
@click.option("--dry-run", is_flag=True, help="With --all or --key-file: only print what would go.")
@click.option("--yes", is_flag=True, help="With --invalidate: do not ask.")
@json_option
@click.pass_obj
def cache(deployment: Deployment, kind: str, key: str, as_json: bool, **options: Any) -> None:
    """Look at cached entities, or have them forgotten in the store and in every process.

    With --type all --invalidate --all every cache is emptied while everything runs: locks and state are not touched,
    of the suppliers only entries that count as absent are deleted, and all processes are told at the end.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml cache --type application --list
      pocket-relay-miner redis-debug --config miner.yaml cache --type application --key pokt1… --invalidate
      pocket-relay-miner redis-debug --config miner.yaml cache --type all --invalidate --all --dry-run
    """
    _check(kind, key, **options)
    if kind == ALL:
        _everything(deployment, options["dry_run"], options["yes"], as_json)
        return
    entries = CacheEntries(deployment, TYPES[kind])
    if options["invalidate"] and not key:
        names = _names_in(options["key_file"]) if options["key_file"] else entries.cached()
        _several(entries, names, options["dry_run"], options["yes"], as_json)
    elif options["invalidate"]:
        _single(entries, key, options["yes"], as_json)
    elif options["listing"]:
        rows = [entries.row(name) for name in sorted({*entries.cached(), *entries.known()})]
        show_rows(rows, as_json)
    else:
        _inspect(entries, key, as_json)


def _check(
    kind: str,
    key: str,
    *,
    listing: bool,
    invalidate: bool,
    everything: bool,
    key_file: Path | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Raise UsageError for options that do not go together."""
    single = kind in TYPES and TYPES[kind].is_single
    if single and key not in ("", kind):
        raise click.UsageError(f"there is one entry of type {kind}: leave --key out")
    if not invalidate:
        extra = {"--all": everything, "--key-file": key_file, "--dry-run": dry_run, "--yes": yes}
        given = [name for name, value in extra.items() if value]
        if given:
            raise click.UsageError(f"{', '.join(given)} needs --invalidate")
    if kind == ALL:
        if not (invalidate and everything) or key or key_file or listing:
            raise click.UsageError("--type all needs --invalidate --all, and no --key, --key-file or --list")
    elif invalidate:
        if listing or bool(key) + everything + bool(key_file) != 1:
            raise click.UsageError("--invalidate needs exactly one of --key, --all and --key-file")
        if dry_run and key:
            raise click.UsageError("--dry-run is for --all and --key-file")
    elif listing == bool(key) and not (single and not listing):
        raise click.UsageError("use one of --key, --list and --invalidate")


def _inspect(entries: CacheEntries, name: str, as_json: bool) -> None:
    found = entries.inspect(name)
    if found is None:
        raise click.ClickException(f"not cached: {entries.key(name)}")
    value = found["value"]
    if len(value) > SHOWN_OF_A_VALUE:
        found["value"] = f"{value[:SHOWN_OF_A_VALUE]}… ({len(value)} characters)"
    click.echo(json.dumps(found | {"value": value})) if as_json else show_fields(found)


def _names_in(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path}: {error}") from None
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _single(entries: CacheEntries, name: str, yes: bool, as_json: bool) -> None:
    if entries.of.name == SUPPLIER:
        _confirm(f"1 supplier would go: {WITHOUT_SUPPLIERS}.", yes)
    deleted = entries.invalidate(name)
    if as_json:
        click.echo(json.dumps({"type": entries.of.name, "deleted": int(deleted), "told": 1}))
    else:
        click.echo(
            f"{entries.key(name)}: {'deleted' if deleted else 'was not cached'}; every process was told"
        )


def _several(entries: CacheEntries, names: list[str], dry_run: bool, yes: bool, as_json: bool) -> None:
    if dry_run:
        _say_planned([entries.key(name) for name in names], {entries.of.name: len(names)}, as_json)
        return
    if names and entries.of.name == SUPPLIER:
        _confirm(f"{len(names)} suppliers would go: {WITHOUT_SUPPLIERS}.", yes)
    elif len(names) > ASK_ABOVE:
        _confirm(f"{len(names)} entries of type {entries.of.name} would go.", yes)
    deleted = 0
    for number, name in enumerate(names, 1):
        deleted += entries.invalidate(name)
        if number % PROGRESS == 0:
            click.echo(f"{number} of {len(names)}", err=True)
    if as_json:
        click.echo(json.dumps({"type": entries.of.name, "deleted": deleted, "told": len(names)}))
    else:
        click.echo(f"{deleted} of {len(names)} were cached and are deleted; every process was told")


def _everything(deployment: Deployment, dry_run: bool, yes: bool, as_json: bool) -> None:
    plan = plan_cleanup(deployment)
    if dry_run:
        suppliers = [deployment.keys.supplier(name) for name in plan.suppliers]
        _say_planned([*plan.cache_keys, *suppliers], plan.groups, as_json)
        return
    if not as_json:
        show([{"group": group, "keys": count} for group, count in plan.groups.items()])
    _confirm(f"{len(plan)} keys would go; caches fill again from the chain.", yes)
    outcome = clean_up(deployment, plan)
    if as_json:
        told = {"healed": outcome.healed, "channels": outcome.channels}
        click.echo(json.dumps({"groups": plan.groups, "deleted": outcome.deleted, **told}))
        return
    for name in outcome.healed:
        click.echo(f"kept, healed meanwhile: {deployment.keys.supplier(name)}")
    click.echo(f"{outcome.deleted} keys deleted; told on {len(outcome.channels)} channels")


def _say_planned(names: Sequence[str | bytes], groups: dict[str, int], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"groups": groups, "keys": [printable(name) for name in names], "deleted": 0}))
        return
    for name in names:
        click.echo(printable(name))
    show([{"group": group, "keys": count} for group, count in groups.items()])
    click.echo("no keys were deleted")


def _confirm(text: str, yes: bool) -> None:
    """Ask before going on. Raises ClickException when the answer is not y."""
    if yes:
        return
    click.echo(text, err=True)
    if click.prompt("Type 'y' to proceed", default="", show_default=False, err=True) != "y":
        raise click.ClickException("Aborted. No keys were deleted.")
