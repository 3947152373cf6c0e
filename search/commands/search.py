"""The search itself: what ``studies.py`` does when no other command is named."""

from __future__ import annotations

import typer

from data_utils.cleaning import Cleaning
from data_utils.spec import DataSpec
from search.commands.options import (
    AsJson,
    Data,
    Device,
    Dim,
    DryRun,
    Epochs,
    Fixed,
    FromStorage,
    FromTop,
    HangTimeout,
    KeepCase,
    KeepNumbers,
    KeepPunctuation,
    KeepTags,
    LabelColumn,
    LabelQuality,
    Language,
    Launcher,
    Level,
    MaxLatencyMs,
    MaxSizeMb,
    MaxVocabulary,
    MinCount,
    MinLetters,
    MinRows,
    Model,
    Objectives,
    Out,
    Pruner,
    Quiet,
    RayAddress,
    Sample,
    Sampler,
    Seed,
    SplitSeed,
    Stemmer,
    StopWords,
    Storage,
    Strict,
    StudyName,
    TextColumn,
    Timeout,
    TrackingUri,
    Trials,
    TrialTimeout,
    Vectors,
    WarmFrom,
    Workers,
)
from search.folders import DEFAULT_OUT
from search.limits import limits_of
from search.objectives import parse_objectives
from search.options import DEFAULT_PRUNER, SearchOptions, WarmStart, parse_duration


def search(
    context: typer.Context,
    # Search
    model: Model = "mlp",
    trials: Trials = None,
    timeout: Timeout = None,
    trial_timeout: TrialTimeout = None,
    hang_timeout: HangTimeout = None,
    study: StudyName = None,
    storage: Storage = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = None,
    objectives: Objectives = "balanced_accuracy",
    max_size_mb: MaxSizeMb = None,
    max_latency_ms: MaxLatencyMs = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    fixed: Fixed = None,
    warm_from: WarmFrom = None,
    from_storage: FromStorage = None,
    from_top: FromTop = 5,
    # Data
    data: Data = "sat",
    level: Level = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    language: Language = None,
    label_quality: LabelQuality = None,
    min_rows: MinRows = None,
    sample: Sample = None,
    split_seed: SplitSeed = 0,
    strict: Strict = False,
    stop_words: StopWords = "spanish,portuguese,english",
    keep_numbers: KeepNumbers = False,
    keep_punctuation: KeepPunctuation = False,
    keep_tags: KeepTags = False,
    keep_case: KeepCase = False,
    min_letters: MinLetters = 3,
    max_vocabulary: MaxVocabulary = None,
    min_count: MinCount = 1,
    stemmer: Stemmer = "auto",
    vectors: Vectors = None,
    dim: Dim = None,
    # Machine and output
    workers: Workers = 1,
    launcher: Launcher = "local",
    ray_address: RayAddress = None,
    device: Device = "auto",
    out: Out = DEFAULT_OUT,
    tracking_uri: TrackingUri = None,
    quiet: Quiet = False,
    json: AsJson = False,
    dry_run: DryRun = False,
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
        split_seed=split_seed,
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
