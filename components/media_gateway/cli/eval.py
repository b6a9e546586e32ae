"""``media-gateway eval``: how well a running search finds what people mean, measured with judged queries."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from media_gateway.cli.evaluation import DEFAULT_DEPTH, DEFAULT_URL

if TYPE_CHECKING:
    from media_gateway.cli.evaluation.asking import Outcome, Target
    from media_gateway.cli.evaluation.pairs import Pairs
    from media_gateway.cli.evaluation.report import Report

app = typer.Typer(name="eval", help="Measure how good answers are.", no_args_is_help=True)

PairsFile = Annotated[
    Path,
    typer.Option(
        help="Judged queries: JSON Lines, or CSV with query,title,year[,class].", show_default=False
    ),
]
Url = Annotated[str, typer.Option(help="Address of discovery, or of the gateway.")]
Variants = Annotated[
    list[str] | None,
    typer.Option(help="Ranking variant to ask; repeat to compare others with the first.", show_default=False),
]
Depth = Annotated[int, typer.Option(help="Results asked for; recall looks that deep.", min=10, max=100)]
Token = Annotated[
    str | None, typer.Option(help="Access token; without one searches are anonymous.", show_default=False)
]
Concurrency = Annotated[
    int, typer.Option(help="Requests at the same time; above 1 latencies say less.", min=1, max=64)
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Ask for the time of each leg too, where the service tells it.")
]
JsonFile = Annotated[
    Path | None, typer.Option(help="Write everything, query by query, to this file too.", show_default=False)
]
CheckFile = Annotated[
    Path | None, typer.Option(help="Fail if a measure is worse than in this file.", show_default=False)
]
RecordFile = Annotated[
    Path | None, typer.Option(help="Write the measures to this file, for --check.", show_default=False)
]
ModelFile = Annotated[Path, typer.Option(help="Where the model is written.", show_default=False)]


@app.callback()
def group() -> None:
    """Measure how good answers are."""


@app.command()
def search(  # noqa: PLR0913, PLR0917 - one parameter an option
    pairs: PairsFile,
    url: Url = DEFAULT_URL,
    variant: Variants = None,
    depth: Depth = DEFAULT_DEPTH,
    token: Token = None,
    concurrency: Concurrency = 1,
    explain: Explain = False,
    json: JsonFile = None,
    check: CheckFile = None,
    record: RecordFile = None,
) -> None:
    """Measure a running search by judged queries: NDCG@10, MRR@10, precision@10, recall and latency, by class.

    With two variants or more: how much each differs from the first, and whether that is more than chance.
    Exit codes: 0 done; 1 the service is away, or --check found something worse; 64 a file or value is wrong;
    130 Ctrl-C, after what is known so far.

    Example: media-gateway eval search --pairs tests/data/relevance/demo.jsonl
    """
    # Imported here, so that help needs neither numpy nor an HTTP client.
    from media_gateway.cli.evaluation.asking import Target
    from media_gateway.cli.evaluation.display import show_findings
    from media_gateway.cli.evaluation.pairs import read_pairs
    from media_gateway.cli.evaluation.stored import record as write, stored_for, worse_than
    from media_gateway.core.errors import InvalidInputError

    variants: tuple[str | None, ...] = tuple(dict.fromkeys(variant)) if variant else (None,)
    if len(variants) > 1 and (check or record):
        raise InvalidInputError("--check and --record go with one variant")
    judged = read_pairs(pairs)
    stored = stored_for(check, judged, depth) if check else None
    target = Target(
        url=url, token=token, variants=variants, depth=depth, concurrency=concurrency, explain=explain
    )
    report = _measured(judged, target, json)
    if record:
        write(record, report)
    if check and stored:
        findings = worse_than(stored, report)
        show_findings(findings, check)
        raise typer.Exit(1 if findings else 0)


@app.command("train-reranker")
def train_reranker(
    pairs: PairsFile,
    write: ModelFile,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Learn how descriptions are re-ranked from judged queries and a running search, and write the model.

    Half of the queries are learned from, the other half (by a hash of the film's title) shows what the weights do to
    queries they have not seen. The same answers give the same file, byte by byte. Discovery reads it as
    MEDIA_GATEWAY_RERANKER_PATH. Exit codes as of `search`.

    Example: media-gateway eval train-reranker --pairs judged.jsonl --write reranker.json
    """
    from media_gateway.cli.evaluation.asking import Target
    from media_gateway.cli.evaluation.display import Bar, show_training
    from media_gateway.cli.evaluation.pairs import read_pairs
    from media_gateway.cli.evaluation.training import gather, train, write_model
    from media_gateway.core.web import event_loop_factory

    judged = read_pairs(pairs)
    bar = Bar(len(judged.queries))
    target = Target(url=url, token=token, explain=True)
    with bar, asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        names, examples = runner.run(gather(judged, target, bar.step))
    training = train(names, examples)
    write_model(write, training, judged)
    show_training(training, len(judged.queries), write)


def _measured(pairs: "Pairs", target: "Target", json: Path | None) -> "Report":
    """The report, shown. A measurement that ends early shows what it has before it says why."""
    from media_gateway.cli.evaluation.asking import measure
    from media_gateway.cli.evaluation.display import Bar, show
    from media_gateway.cli.evaluation.report import report_on
    from media_gateway.core.web import event_loop_factory

    outcomes: list[Outcome] = []
    bar = Bar(len(pairs.queries) * len(target.variants))

    def keep(outcome: "Outcome") -> None:
        outcomes.append(outcome)
        bar.step()

    try:
        with bar, asyncio.Runner(loop_factory=event_loop_factory()) as runner:
            runner.run(measure(pairs, target, keep))
    finally:
        report = report_on(pairs, target, outcomes)
        if outcomes:
            show(report)
            _write(json, report)
    return report


def _write(path: Path | None, report: "Report") -> None:
    import orjson

    from media_gateway.core.errors import InvalidInputError

    if path is None:
        return
    try:
        path.write_bytes(
            orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
    except OSError as error:
        raise InvalidInputError(
            f"--json: {path}: {(error.strerror or 'it can not be written').lower()}"
        ) from error
