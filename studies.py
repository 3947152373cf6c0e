"""The command line: ``python studies.py --model mlp --trials 50``.

Options in, one call out. What they mean is in ``search/``; nothing here is worth a test that does
not run the command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from data_utils.cleaning import Cleaning
from data_utils.errors import DataError
from data_utils.spec import DataSpec
from search.commands.clusters import proxy
from search.commands.compare import compare
from search.commands.control import cancel, enqueue, pause, resume, stop
from search.commands.export import export
from search.commands.informe import informe
from search.commands.manage import copy, delete, list_, show, status
from search.commands.predict import predict
from search.commands.report import report
from search.commands.workers import init, worker
from search.errors import SearchError
from search.limits import limits_of
from search.objectives import parse_objectives
from search.options import DEFAULT_PRUNER, SearchOptions, WarmStart, parse_duration

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DATA, SEARCH, OUTPUT = "Data", "Search", "Machine and output"


@app.callback(invoke_without_command=True)
def search(
    context: typer.Context,
    # Search
    model: Annotated[
        Literal["mlp", "cnn"], typer.Option(help="Network to search over.", rich_help_panel=SEARCH)
    ] = "mlp",
    trials: Annotated[
        int | None,
        typer.Option(
            help="Trials that the whole study shall have, COMPLETE or PRUNED; the same command "
            "again adds what is missing and no more [default: 50; 1 if --set leaves one "
            "configuration].",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(help="Stop after this time: 90s, 20m, 2h.", rich_help_panel=SEARCH),
    ] = None,
    trial_timeout: Annotated[
        str | None,
        typer.Option(
            help="Prune a trial that has run for this long, its earlier attempts included.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    hang_timeout: Annotated[
        str | None,
        typer.Option(
            help="Take a trial without an evaluation for this long for hung, and end its process "
            "[default: 20 times its slowest evaluation, at least 10m].",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(help="Name of the study [default: MODEL-DATA].", rich_help_panel=SEARCH),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="STORAGE_URL",
            help="sqlite:///FILE or postgresql+psycopg://USER@HOST/DB "
            "[default: sqlite:///OUT/optuna.db].",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    sampler: Annotated[
        Literal["tpe", "gp", "cmaes", "random", "grid"],
        typer.Option(help="How configurations are chosen.", rich_help_panel=SEARCH),
    ] = "tpe",
    pruner: Annotated[
        Literal["asha", "hyperband", "median", "wilcoxon", "none"] | None,
        typer.Option(
            help="How hopeless trials are stopped [default: asha; none with several objectives].",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    objectives: Annotated[
        str,
        typer.Option(
            help="What is optimised: balanced_accuracy, and beside it latency (ms for a title) "
            "or size (MB), with commas between.",
            rich_help_panel=SEARCH,
        ),
    ] = "balanced_accuracy",
    max_size_mb: Annotated[
        float | None,
        typer.Option(
            help="Train nothing whose exported weights take more megabytes.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(
            help="Train nothing that takes more milliseconds for a title.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Most epochs of a trial [default: the model's own].", rich_help_panel=SEARCH
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the sampler and of training.", rich_help_panel=SEARCH)
    ] = 0,
    fixed: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Fix a parameter instead of searching it, such as dropout=0.3 or "
            "hidden_sizes=512,256; may be repeated.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    warm_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STUDY",
            help="Start from the best trials of another study, on these data or others.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    from_storage: Annotated[
        str | None,
        typer.Option(help="Where that study is [default: --storage].", rich_help_panel=SEARCH),
    ] = None,
    from_top: Annotated[
        int, typer.Option(help="How many of its best trials.", rich_help_panel=SEARCH)
    ] = 5,
    # Data
    data: Annotated[
        str,
        typer.Option(
            help="'sat' (Mexico's catalogue of products and services, built in), a file (CSV, "
            "JSON lines, Parquet; plain, gz, bz2 or xz) or the course's folder.",
            rich_help_panel=DATA,
        ),
    ] = "sat",
    level: Annotated[
        Literal["family", "segment"] | None,
        typer.Option(help="Categories of --data sat.", rich_help_panel=DATA),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the titles.", rich_help_panel=DATA)
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of the categories.", rich_help_panel=DATA)
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Keep titles of this language.", rich_help_panel=DATA)
    ] = None,
    label_quality: Annotated[
        str | None, typer.Option(help="Keep titles of this label quality.", rich_help_panel=DATA)
    ] = None,
    min_rows: Annotated[
        int | None,
        typer.Option(help="Leave out categories with fewer rows.", rich_help_panel=DATA),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(help="Take a fixed random sample of this many rows.", rich_help_panel=DATA),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse unusable rows.", rich_help_panel=DATA),
    ] = False,
    stop_words: Annotated[
        str,
        typer.Option(
            help="Languages whose stop words are dropped, or 'none'.", rich_help_panel=DATA
        ),
    ] = "spanish,portuguese,english",
    keep_numbers: Annotated[
        bool, typer.Option("--keep-numbers", help="Keep numbers.", rich_help_panel=DATA)
    ] = False,
    keep_punctuation: Annotated[
        bool, typer.Option("--keep-punctuation", help="Keep punctuation.", rich_help_panel=DATA)
    ] = False,
    keep_tags: Annotated[
        bool, typer.Option("--keep-tags", help="Keep HTML tags.", rich_help_panel=DATA)
    ] = False,
    keep_case: Annotated[
        bool, typer.Option("--keep-case", help="Keep capitals.", rich_help_panel=DATA)
    ] = False,
    min_letters: Annotated[
        int, typer.Option(help="Drop shorter tokens.", rich_help_panel=DATA)
    ] = 3,
    max_vocabulary: Annotated[
        int | None, typer.Option(help="Most words of the vocabulary.", rich_help_panel=DATA)
    ] = None,
    min_count: Annotated[
        int, typer.Option(help="Drop words rarer than this in train.", rich_help_panel=DATA)
    ] = 1,
    stemmer: Annotated[
        Literal["auto", "spanish", "portuguese", "english", "none"],
        typer.Option(
            help="Words share what is learnt of their stem: a language, or auto, the titles' own.",
            rich_help_panel=DATA,
        ),
    ] = "auto",
    vectors: Annotated[
        Path | None,
        typer.Option(
            help="Word vectors: word2vec text or binary, GloVe or fastText .vec, plain or "
            "compressed [default: skip-gram vectors of the train titles].",
            rich_help_panel=DATA,
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            help="Width of the word vectors [default: the file's, or 300].", rich_help_panel=DATA
        ),
    ] = None,
    # Machine and output
    workers: Annotated[
        int,
        typer.Option(
            help="Processes on this machine that share its cores.", rich_help_panel=OUTPUT
        ),
    ] = 1,
    launcher: Annotated[
        Literal["local", "ray"],
        typer.Option(
            help="Where the workers run: here, or as tasks of a Ray cluster.",
            rich_help_panel=OUTPUT,
        ),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="HOST:PORT or ray://HOST:PORT of the cluster [default: the one on this machine].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="auto, cpu, cuda or cuda:N; with several workers, auto deals out the GPUs.",
            rich_help_panel=OUTPUT,
        ),
    ] = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for studies, runs and caches.", rich_help_panel=OUTPUT)
    ] = Path("runs"),
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow server or database [default: sqlite:///OUT/mlflow.db].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress.", rich_help_panel=OUTPUT)
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Progress as JSON lines.", rich_help_panel=OUTPUT),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print data, search space and plan, then end.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> None:
    """Search hyperparameters of title classifiers: an Optuna study over PyTorch networks."""
    if context.invoked_subcommand is not None:
        return
    cleaning = Cleaning(
        lower=not keep_case,
        tags=not keep_tags,
        punctuation=not keep_punctuation,
        numbers=not keep_numbers,
        stop_words=() if stop_words == "none" else tuple(stop_words.split(",")),
        min_letters=min_letters,
    )
    spec = DataSpec(
        source=data,
        level=level,
        text_column=text_column,
        label_column=label_column,
        language=language,
        label_quality=label_quality,
        min_rows=min_rows,
        sample=sample,
        cleaning=cleaning,
        max_vocabulary=max_vocabulary,
        min_count=min_count,
        stemmer=stemmer,
        strict=strict,
    )
    goals = parse_objectives(objectives)
    options = SearchOptions(
        model=model,
        n_trials=trials,
        timeout_seconds=parse_duration(timeout),
        trial_timeout_seconds=parse_duration(trial_timeout, "--trial-timeout"),
        hang_timeout_seconds=parse_duration(hang_timeout, "--hang-timeout"),
        study_name=study,
        storage_url=storage,
        sampler=sampler,
        pruner=pruner or (DEFAULT_PRUNER if len(goals) == 1 else "none"),
        max_epochs=epochs,
        seed=seed,
        data=spec,
        vectors=vectors,
        embedding_dim=dim,
        num_workers=workers,
        launcher=launcher,
        ray_address=ray_address,
        device=device,
        out=out,
        tracking_uri=tracking_uri,
        quiet=quiet,
        json=json,
        settings=tuple(fixed or ()),
        warm_start=WarmStart(warm_from, from_storage, from_top) if warm_from else None,
        objectives=goals,
        limits=limits_of(size_mb=max_size_mb, latency_ms=max_latency_ms),
    )
    # Imported here: torch and optuna take seconds, and --help needs neither.
    if dry_run:
        from search.display.plan import print_plan

        print_plan(options)
        return
    from search.run import run_search

    raise typer.Exit(run_search(options))


app.command()(worker)
app.command()(init)
app.command()(proxy)
app.command("list")(list_)
app.command()(status)
app.command()(show)
app.command()(copy)
app.command()(delete)
app.command()(compare)
app.command()(report)
app.command()(informe)
app.command()(export)
app.command()(predict)
for verb in (pause, resume, stop, cancel, enqueue):
    app.command()(verb)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 2 for a mistake of the user."""
    try:
        return app(args=arguments, standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except typer.TyperException as error:
        line, status = error.format_message(), 2
    except DataError as error:
        line, status = str(error), 2
    except SearchError as error:
        line, status = str(error), error.exit_status
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
