"""The catalogue as the rest of the agent uses it.

A method that writes holds the catalogue's lock, so two imports cannot run at once; reading needs no lock. Time comes
from the clock handed in.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from alliance.errors import AllianceError, FailedPrecondition, NotFound
from member_agent.catalog import planning
from member_agent.catalog.fetch import Fetched, ImageFetcher
from member_agent.catalog.importing import (
    REPORTED_KEYS,
    ProgressSink,
    import_rows,
    rehearse,
    write_errors,
)
from member_agent.catalog.mapfile import load_map, save_map
from member_agent.catalog.model import (
    ChangeSeq,
    ColumnMap,
    Field,
    Image,
    ImportReport,
    Origin,
    Product,
    ProductId,
    ProductState,
    Progress,
    Resume,
    RowError,
    RunId,
    Severity,
    SourceId,
    SourceName,
    SourceSummary,
    source_name,
)
from member_agent.catalog.planning import ImportPlan
from member_agent.catalog.schema import open_catalog
from member_agent.catalog.store import ImportStore, OpenRun
from member_agent.catalog.views import CatalogViews, Changes
from member_agent.clock import Clock
from member_agent.locks import FileLock

_FETCHERS = 8
_FETCH_PAGE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    fetched: int
    failed: tuple[RowError, ...]


def _silent(progress: Progress) -> None:
    del progress


class CatalogService:
    """The catalogue in an agent's home: `catalog.db`, `maps/`, `images/`, `errors/`.

    Args:
        clock: the present, aware of its time zone.
        batch_rows: rows an import commits at a time, at most 30,000.

    Raises:
        FailedPrecondition, Corrupt: as `schema.open_catalog` does.
    """

    def __init__(self, home: Path, clock: Clock, *, batch_rows: int = 2000) -> None:
        self._home = home
        self._clock = clock
        self._batch_rows = batch_rows
        self._db = open_catalog(home / "catalog.db")
        self._store = ImportStore(self._db)
        self._views = CatalogViews(self._db)

    def __enter__(self) -> CatalogService:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def plan_import(
        self,
        origin: Origin,
        *,
        source: SourceName | None = None,
        said: Mapping[Field, str] | None = None,
        map_file: Path | None = None,
    ) -> ImportPlan:
        """Plans an import without writing; see `planning.plan_import` for what is raised."""
        plan = planning.plan_import(self._home, origin, source=source, said=said, map_file=map_file)
        found = self._interrupted(plan)
        return replace(plan, resumes_after=found.cursor) if found else plan

    def rehearse(
        self, plan: ImportPlan, *, progress: ProgressSink = _silent, errors_file: Path | None = None
    ) -> ImportReport:
        """Reads every row and says what an import would do. Writes the errors file and nothing else."""
        counts, vanished, errors = rehearse(
            plan, self._store, self._views, batch_rows=self._batch_rows, progress=progress
        )
        return ImportReport(
            source=plan.source,
            dry_run=True,
            counts=counts,
            vanished_keys=vanished,
            errors_file=write_errors(errors_file or self._errors_file(plan.source), errors),
        )

    def run_import(
        self,
        plan: ImportPlan,
        *,
        prune: bool = False,
        resume: Resume = Resume.AUTO,
        progress: ProgressSink = _silent,
        errors_file: Path | None = None,
    ) -> ImportReport:
        """Imports, or goes on with an interrupted import of the same, and saves the column map.

        Args:
            prune: withdraw the products that vanished; held back while a row's id cannot be read, since that row may
                be any of them.

        Raises:
            FailedPrecondition: NOTHING_TO_RESUME, with `Resume.ONLY`; ALREADY_RUNNING while another import runs.
            InvalidInput: when the source breaks off (SQL); what was committed stays.
        """
        with self._turn():
            run, source, after = self._begin(plan, resume)
            save_map(self._home, plan.source, plan.columns)
            import_rows(plan, self._store, run, source, after=after, batch_rows=self._batch_rows, progress=progress)
            held = prune and self._views.counts(run).unmatched > 0
            self._store.finish(run, source, prune=prune and not held, now=self._clock())
            counts = self._views.counts(run)
            return ImportReport(
                source=plan.source,
                dry_run=False,
                counts=counts,
                resumed_after=after,
                prune_held=held and counts.vanished > 0,
                vanished_keys=self._views.missing_keys(plan.source, REPORTED_KEYS),
                errors_file=write_errors(errors_file or self._errors_file(plan.source), self._views.errors(run)),
            )

    def fetch_images(
        self, source: SourceName, fetcher: ImageFetcher, *, progress: ProgressSink = _silent
    ) -> FetchReport:
        """Fetches the pictures behind a source's links that have no file yet; each is kept as soon as it is there."""
        fetched, failed, after = 0, list[RowError](), (0, -1)
        with self._turn(), ThreadPoolExecutor(_FETCHERS) as pool:
            while page := self._store.unfetched(source, after=after, limit=_FETCH_PAGE):
                answers = pool.map(lambda entry: _attempt(fetcher, entry[2]), page)
                for (product_id, position, link), answer in zip(page, answers, strict=True):
                    if isinstance(answer, Fetched):
                        self._keep(self.product(product_id), position, link, answer)
                        fetched += 1
                    else:
                        failed.append(_failure(self.product(product_id), link, answer))
                    progress(Progress(rows=fetched, done=fetched + len(failed), total=0))
                after = page[-1][:2]
        return FetchReport(fetched=fetched, failed=tuple(failed))

    def products(
        self, source: SourceName | None = None, *, state: ProductState = ProductState.ACTIVE
    ) -> Iterator[Product]:
        return self._views.products(source, state=state)

    def product(self, id_: ProductId) -> Product:
        """Raises: NotFound."""
        found = self._views.find_product(id_)
        if found is None:
            raise NotFound(f"there is no product {id_}", remedy='see "alliance-agent catalog list"')
        return found

    def changes(self, since: ChangeSeq = ChangeSeq(0)) -> Changes:  # noqa: B008  # because it is an int
        """What was added, changed or withdrawn after `since`; start with 0 and keep `upto` of the answer."""
        return self._views.changes(since)

    def sources(self) -> list[SourceSummary]:
        return self._views.sources()

    def maps(self) -> dict[SourceName, ColumnMap]:
        """The saved column maps, by source."""
        return {source_name(path.stem): load_map(path) for path in sorted((self._home / "maps").glob("*.toml"))}

    def _begin(self, plan: ImportPlan, resume: Resume) -> tuple[RunId, SourceId, int]:
        source = self._store.source(plan.source, plan.columns.format)
        found = self._interrupted(plan)
        if found and resume is not Resume.NEVER:
            return found.id, source, found.cursor
        if resume is Resume.ONLY:
            raise FailedPrecondition(
                f"no interrupted import of {plan.source} has this file and this map",
                reason="NOTHING_TO_RESUME",
                remedy="leave out --resume to import from the first row",
            )
        run = self._store.begin(source, input_digest=plan.opened.digest, map_digest=plan.map_digest, now=self._clock())
        return run, source, 0

    def _interrupted(self, plan: ImportPlan) -> OpenRun | None:
        """The source's run that has not ended, if it was of the same bytes, read in the same way."""
        found = self._store.find_open_run(plan.source)
        wanted = (plan.opened.digest, plan.map_digest)
        if found is None or not plan.opened.resumable or (found.input_digest, found.map_digest) != wanted:
            return None
        return found

    def _turn(self) -> FileLock:
        return FileLock(self._home / "catalog.lock", wait=0)

    def _errors_file(self, source: SourceName) -> Path:
        return self._home / "errors" / f"{source}.csv"

    def _keep(self, product: Product, position: int, link: str, fetched: Fetched) -> None:
        digest = hashlib.sha256(fetched.content).digest()
        path = self._home / "images" / digest.hex()[:2] / f"{digest.hex()}{fetched.suffix}"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        with draft.open("wb") as file:
            file.write(fetched.content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        stat = path.stat()
        kept = Image(path=path, link=link, sha256=digest, size=stat.st_size, modified_ns=stat.st_mtime_ns)
        self._store.record_fetched(product, position, kept)


def _attempt(fetcher: ImageFetcher, link: str) -> Fetched | AllianceError:
    try:
        return fetcher.fetch(link)
    except AllianceError as error:
        return error


def _failure(product: Product, link: str, error: AllianceError) -> RowError:
    return RowError(
        row=None,
        field="image_link",
        reason=error.reason,
        message=f"product {product.source_key[:80]}, {link[:200]}: {error.message}",
        severity=Severity.WARNING,
    )
