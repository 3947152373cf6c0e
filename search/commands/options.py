"""The options of a search, each said once for all commands that take it.

A command names those it has in its own parameters, with its own defaults. The panels are those of
``--help``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DATA, SEARCH, OUTPUT = "Data", "Search", "Machine and output"

# What no number has a use for exceeding; larger ones fail in the libraries that take them.
MOST = 2**31 - 1
MOST_SEEDS = 10_000
MOST_DIM = 10_000

# Search
Model = Annotated[
    Literal["mlp", "cnn"], typer.Option(help="Network to search over.", rich_help_panel=SEARCH)
]
Trials = Annotated[
    int | None,
    typer.Option(
        help="Trials that the whole study shall have, COMPLETE or PRUNED; the same command "
        "again adds what is missing and no more [default: 50; 1 if --set leaves one "
        "configuration].",
        max=MOST,
        rich_help_panel=SEARCH,
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(help="Stop after this time: 90s, 20m, 2h.", rich_help_panel=SEARCH),
]
TrialTimeout = Annotated[
    str | None,
    typer.Option(
        help="Prune a trial that has run for this long, its earlier attempts included.",
        rich_help_panel=SEARCH,
    ),
]
HangTimeout = Annotated[
    str | None,
    typer.Option(
        help="Take a trial without an evaluation for this long for hung, and end its process "
        "[default: 20 times its slowest evaluation, at least 10m].",
        rich_help_panel=SEARCH,
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option(help="Name of the study [default: MODEL-DATA].", rich_help_panel=SEARCH),
]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="STORAGE_URL",
        help="sqlite:///FILE or postgresql+psycopg://USER@HOST/DB "
        "[default: sqlite:///OUT/optuna.db].",
        rich_help_panel=SEARCH,
    ),
]
Sampler = Annotated[
    Literal["tpe", "gp", "cmaes", "random", "grid"],
    typer.Option(help="How configurations are chosen.", rich_help_panel=SEARCH),
]
Pruner = Annotated[
    Literal["asha", "hyperband", "median", "wilcoxon", "none"] | None,
    typer.Option(
        help="How hopeless trials are stopped [default: asha; none with several objectives].",
        rich_help_panel=SEARCH,
    ),
]
Objectives = Annotated[
    str,
    typer.Option(
        help="What is optimised: balanced_accuracy, and beside it latency (ms for a title) "
        "or size (MB), with commas between.",
        rich_help_panel=SEARCH,
    ),
]
MaxSizeMb = Annotated[
    float | None,
    typer.Option(
        help="Train nothing whose exported weights take more megabytes.",
        rich_help_panel=SEARCH,
    ),
]
MaxLatencyMs = Annotated[
    float | None,
    typer.Option(
        help="Train nothing that takes more milliseconds for a title.",
        rich_help_panel=SEARCH,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="Most epochs of a trial [default: the model's own].",
        max=MOST,
        rich_help_panel=SEARCH,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Seed of the sampler and of training.", rich_help_panel=SEARCH)
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Fix a parameter instead of searching it, such as dropout=0.3 or "
        "hidden_sizes=512,256; may be repeated.",
        rich_help_panel=SEARCH,
    ),
]
WarmFrom = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STUDY",
        help="Start from the best trials of another study, on these data or others.",
        rich_help_panel=SEARCH,
    ),
]
FromStorage = Annotated[
    str | None,
    typer.Option(help="Where that study is [default: --storage].", rich_help_panel=SEARCH),
]
FromTop = Annotated[
    int, typer.Option(help="How many of its best trials.", max=MOST, rich_help_panel=SEARCH)
]

# Data
Data = Annotated[
    str,
    typer.Option(
        help="'sat' (Mexico's catalogue of products and services, built in), a file (CSV, "
        "JSON lines, Parquet; plain, gz, bz2 or xz) or the course's folder.",
        rich_help_panel=DATA,
    ),
]
Level = Annotated[
    Literal["family", "segment"] | None,
    typer.Option(help="Categories of --data sat.", rich_help_panel=DATA),
]
TextColumn = Annotated[
    str | None, typer.Option(help="Column of the titles.", rich_help_panel=DATA)
]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column of the categories.", rich_help_panel=DATA)
]
Language = Annotated[
    str | None, typer.Option(help="Keep titles of this language.", rich_help_panel=DATA)
]
LabelQuality = Annotated[
    str | None, typer.Option(help="Keep titles of this label quality.", rich_help_panel=DATA)
]
MinRows = Annotated[
    int | None,
    typer.Option(help="Leave out categories with fewer rows.", max=MOST, rich_help_panel=DATA),
]
Sample = Annotated[
    int | None,
    typer.Option(
        help="Take a fixed random sample of this many rows.", max=MOST, rich_help_panel=DATA
    ),
]
SplitSeed = Annotated[
    int,
    typer.Option(
        help="Draw other train, validation and test parts, to see how much is luck.",
        min=-(2**63),
        max=2**63 - 1,
        rich_help_panel=DATA,
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse unusable rows.", rich_help_panel=DATA),
]
StopWords = Annotated[
    str,
    typer.Option(help="Languages whose stop words are dropped, or 'none'.", rich_help_panel=DATA),
]
KeepNumbers = Annotated[
    bool, typer.Option("--keep-numbers", help="Keep numbers.", rich_help_panel=DATA)
]
KeepPunctuation = Annotated[
    bool, typer.Option("--keep-punctuation", help="Keep punctuation.", rich_help_panel=DATA)
]
KeepTags = Annotated[
    bool, typer.Option("--keep-tags", help="Keep HTML tags.", rich_help_panel=DATA)
]
KeepCase = Annotated[
    bool, typer.Option("--keep-case", help="Keep capitals.", rich_help_panel=DATA)
]
MinLetters = Annotated[
    int, typer.Option(help="Drop shorter tokens.", max=MOST, rich_help_panel=DATA)
]
MaxVocabulary = Annotated[
    int | None, typer.Option(help="Most words of the vocabulary.", max=MOST, rich_help_panel=DATA)
]
MinCount = Annotated[
    int, typer.Option(help="Drop words rarer than this in train.", max=MOST, rich_help_panel=DATA)
]
Stemmer = Annotated[
    Literal["auto", "spanish", "portuguese", "english", "none"],
    typer.Option(
        help="Words share what is learnt of their stem: a language, or auto, the titles' own.",
        rich_help_panel=DATA,
    ),
]
Vectors = Annotated[
    Path | None,
    typer.Option(
        help="Word vectors: word2vec text or binary, GloVe or fastText .vec, plain or "
        "compressed [default: skip-gram vectors of the train titles].",
        rich_help_panel=DATA,
    ),
]
Dim = Annotated[
    int | None,
    typer.Option(
        help="Width of the word vectors [default: the file's, or 300].",
        max=MOST_DIM,
        rich_help_panel=DATA,
    ),
]

# Of commands that open a study
DataHere = Annotated[
    str | None,
    typer.Option("--data", help="Where the study's data are here, if elsewhere."),
]
VectorsHere = Annotated[
    Path | None,
    typer.Option("--vectors", help="Where the study's word vectors are here, if elsewhere."),
]

# Machine and output
Workers = Annotated[
    int,
    typer.Option(
        help="Processes on this machine that share its cores.", max=1024, rich_help_panel=OUTPUT
    ),
]
Launcher = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="Where the workers run: here, or as tasks of a Ray cluster.",
        rich_help_panel=OUTPUT,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        envvar="RAY_ADDRESS",
        help="HOST:PORT or ray://HOST:PORT of the cluster [default: the one on this machine].",
        rich_help_panel=OUTPUT,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda or cuda:N; with several workers, auto deals out the GPUs.",
        rich_help_panel=OUTPUT,
    ),
]
Out = Annotated[
    Path, typer.Option(help="Folder for studies, runs and caches.", rich_help_panel=OUTPUT)
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server or database [default: sqlite:///OUT/mlflow.db].",
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.", rich_help_panel=OUTPUT)]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Progress as JSON lines.", rich_help_panel=OUTPUT),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print data, search space and plan, then end.",
        rich_help_panel=OUTPUT,
    ),
]
