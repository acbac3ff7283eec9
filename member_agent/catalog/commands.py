"""`alliance-agent catalog`: thin; asks the service, prints text or JSON. Everything heavy is imported when needed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alliance.errors import FailedPrecondition, InvalidInput, NotFound
from member_agent.catalog.model import Format, Origin, Resume, SourceName, SqlQuery, source_name

if TYPE_CHECKING:
    from member_agent.catalog.importing import ProgressSink
    from member_agent.catalog.planning import ImportPlan
    from member_agent.catalog.service import CatalogService

app = typer.Typer(
    name="catalog", help="Import and look at the member's own products. They never leave.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Source = Annotated[str | None, typer.Option("--source", help="Name of the source; default: the file's name.")]


@app.command("import")
def import_(
    ctx: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="CSV, TSV, JSONL file or folder of pictures.")] = None,
    source: Source = None,
    format_: Annotated[Format | None, typer.Option("--format", help="Default: by the file's name.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="A query instead of a file.")] = None,
    sql_url_file: Annotated[Path | None, typer.Option(help="File holding the database URL.")] = None,
    sql_url_env: Annotated[str | None, typer.Option(help="Environment variable holding the database URL.")] = None,
    map_file: Annotated[Path | None, typer.Option("--map", help="A saved column map.")] = None,
    column: Annotated[list[str] | None, typer.Option("--column", help="FIELD=COLUMN; repeatable.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Default: UTF-8 or what a byte order mark says.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="One character, or tab. Default: recognised.")] = None,
    no_quotes: Annotated[bool, typer.Option("--no-quotes", help="Quotes in the file are ordinary characters.")] = False,
    images: Annotated[Path | None, typer.Option(help="Folder the image paths start from.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="Table describing the pictures of the folder PATH.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read every row, store nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the guessed columns.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Withdraw products that vanished from the source.")] = False,
    fetch_images: Annotated[
        bool, typer.Option("--fetch-images", help="Fetch image links (public hosts only).")
    ] = False,
    resume: Annotated[
        bool | None, typer.Option("--resume/--restart", help="Default: resume if file and map are the same.")
    ] = None,
    errors: Annotated[Path | None, typer.Option(help="Where row errors go. Default: errors/SOURCE.csv.")] = None,
    as_json: Json = False,
) -> None:
    """Import products. Bad rows are listed with row and reason; they never stop the good ones."""
    from member_agent.catalog import render
    from member_agent.catalog.mapping import parse_assignments

    origin = Origin(
        path=path,
        sql=_query(sql, sql_url_file, sql_url_env),
        format=format_,
        encoding=encoding,
        delimiter=delimiter,
        quote="" if no_quotes else None,
        images=images,
        manifest=manifest,
    )
    with _service(ctx) as service:
        plan = service.plan_import(
            origin,
            source=source_name(source) if source else None,
            said=parse_assignments(column or ()),
            map_file=map_file,
        )
        if plan.needs_confirmation and not as_json:
            render.plan(plan)
        if not dry_run:
            _confirm(plan, yes=yes)
        mode = {None: Resume.AUTO, True: Resume.ONLY, False: Resume.NEVER}[resume]
        with _progress(f"{'checking' if dry_run else 'importing'} {plan.source}") as progress:
            if dry_run:
                report = service.rehearse(plan, progress=progress, errors_file=errors)
            else:
                report = service.run_import(plan, prune=prune, resume=mode, progress=progress, errors_file=errors)
        if as_json:
            print(json.dumps(render.report_values(report, plan.columns)))
        else:
            render.report(report, prune=prune)
        if fetch_images and not dry_run:
            _fetch(service, plan.source)
    if report.counts.rows == report.counts.rejected:
        raise InvalidInput("every row was rejected", reason="ALL_REJECTED", remedy=f"see {report.errors_file}")


@app.command("list")
def list_(
    ctx: typer.Context,
    source: Source = None,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Those withdrawn instead of those active.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List products."""
    from itertools import islice

    from member_agent.catalog import render
    from member_agent.catalog.model import ProductState

    state = ProductState.WITHDRAWN if withdrawn else ProductState.ACTIVE
    with _service(ctx) as service:
        name = _known_source(service, source)
        products = list(islice(service.products(name, state=state), limit))
    if as_json:
        print(json.dumps([render.product_values(product) for product in products]))
    else:
        render.products(products)


@app.command()
def sources(ctx: typer.Context, as_json: Json = False) -> None:
    """List sources, with their products and their last import."""
    from member_agent.catalog import render

    with _service(ctx) as service:
        found = service.sources()
    if as_json:
        print(json.dumps([render.source_values(one) for one in found]))
    else:
        render.sources(found)


@app.command()
def show(ctx: typer.Context, product: Annotated[int, typer.Argument(help="Its id.")], as_json: Json = False) -> None:
    """Show one product."""
    from member_agent.catalog import render
    from member_agent.catalog.model import ProductId

    with _service(ctx) as service:
        values = render.product_values(service.product(ProductId(product)))
    print(json.dumps(values) if as_json else render.lines(values))


@app.command()
def maps(ctx: typer.Context, as_json: Json = False) -> None:
    """List the saved column maps."""
    from member_agent.catalog import render

    with _service(ctx) as service:
        found = service.maps()
    values = {name: render.map_values(columns) for name, columns in found.items()}
    if as_json:
        print(json.dumps(values))
        return
    for name, columns in values.items():
        print(f"{name}: " + ", ".join(f"{field}={column}" for field, column in columns["columns"].items()))


def _home(ctx: typer.Context) -> Path:
    """The agent's home, as the top-level command resolved it (`--home`, `ALLIANCE_AGENT_HOME`)."""
    return Path(ctx.obj["home"])


@contextmanager
def _service(ctx: typer.Context) -> Iterator[CatalogService]:
    from member_agent.catalog.service import CatalogService
    from member_agent.clock import utc_now

    with CatalogService(_home(ctx), utc_now) as service:
        yield service


def _known_source(service: CatalogService, text: str | None) -> SourceName | None:
    if text is None:
        return None
    name = source_name(text)
    known = [one.name for one in service.sources()]
    if name not in known:
        raise NotFound(f"there is no source {name}", remedy=f"there are: {', '.join(known) or 'none yet'}")
    return name


def _query(sql: str | None, url_file: Path | None, url_env: str | None) -> SqlQuery | None:
    if sql is None:
        return None
    if url_file is not None:
        try:
            return SqlQuery(url=url_file.read_text("utf-8").strip(), query=sql)
        except OSError as error:
            raise NotFound(f"cannot read {url_file}: {error.strerror}", field="--sql-url-file") from error
    url = os.environ.get(url_env or "")
    if not url:
        raise InvalidInput(
            "the database URL is missing",
            reason="SQL_URL_MISSING",
            field="--sql",
            remedy="put it into a file (--sql-url-file) or a variable (--sql-url-env); never on the command line",
        )
    return SqlQuery(url=url, query=sql)


def _confirm(plan: ImportPlan, *, yes: bool) -> None:
    if not plan.needs_confirmation or yes:
        return
    if not sys.stdin.isatty():
        raise FailedPrecondition(
            "the columns were guessed and nobody confirmed them",
            reason="MAP_UNCONFIRMED",
            field="--yes",
            remedy="look at them with --dry-run, correct them with --column, accept them with --yes",
        )
    typer.confirm("Import with these columns?", abort=True, err=True)


def _fetch(service: CatalogService, source: SourceName) -> None:
    from member_agent.catalog.fetch import ImageFetcher

    with _progress("fetching pictures") as progress:
        fetched = service.fetch_images(source, ImageFetcher(), progress=progress)
    print(f"{fetched.fetched:,} pictures fetched, {len(fetched.failed):,} not", file=sys.stderr)
    for failure in fetched.failed:
        print(f"  {failure.reason}: {failure.message}", file=sys.stderr)


@contextmanager
def _progress(what: str) -> Iterator[ProgressSink]:
    """A progress bar on standard error where that is a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    count = TextColumn("{task.fields[rows]:,} rows")
    with Progress(*columns, count, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, rows=0)
        yield lambda step: bar.update(task, completed=step.done, total=step.total or None, rows=step.rows)
