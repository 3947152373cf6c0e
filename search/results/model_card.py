"""The README.md of an exported model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_utils.safe_text import for_markdown
from search.display.categories import missing_categories
from search.limits import UNITS
from search.spaces import CONSTANT_RATE_ATTR
from search.study import BASELINE_ATTR

if TYPE_CHECKING:
    from search.results.export import Export
    from search.results.test_part import TestFigures

_WORST = 5


def model_card(export: Export) -> str:
    """What the model is for, how it was made and chosen, how good it is, and where it ends."""
    sections = (_head, _use, _figures, _choice, _data, _limits, _files)
    return "\n".join(section(export) for section in sections)


def _head(export: Export) -> str:
    config = export.trained.config.model
    kind = export.opened.settings.model.upper()
    name = f"{for_markdown(export.opened.name)}, trial {export.chosen.trial.number}"
    return (
        f"# Title classifier: {name}\n\n"
        f"Tells to which of {config.num_classes:,} categories a product title belongs: "
        f"{_article(kind)} {kind} over word vectors, found by a hyperparameter search.\n"
    )


def _article(kind: str) -> str:
    return "an" if kind[0] in "AEFHILMNORSX" else "a"


def _use(_: Export) -> str:
    return """## Use

```console
$ pip install -r requirements.txt
$ python predict.py "a title" "another one"
$ python predict.py --format csv --top 3 < titles.txt
```

`predict.py` finds its files from any working directory, holds them against `SHA256SUMS` first, and
unpickles nothing. `sha256sum --check SHA256SUMS` does the same by hand.
"""


def _figures(export: Export) -> str:
    figures, best, chosen = export.figures, export.trained.best, export.chosen
    spread = "one seed" if chosen.deviation is None else f"± {chosen.deviation:.4f}"
    seeds = ", ".join(str(repeat.seed) for repeat in chosen.repeats)
    looks = (
        "It was the first trial of its study to be evaluated there."
        if not figures.trials_before
        else f"{figures.trials_before} other trials of its study had been evaluated there before."
    )
    return f"""## Figures

| part | balanced accuracy | accuracy | loss |
| --- | --- | --- | --- |
| test, {figures.titles:,} titles | {figures.balanced_accuracy:.4f} \
({_interval(figures.balanced_accuracy_interval)}) | {figures.accuracy:.4f} \
({_interval(figures.accuracy_interval)}) | {figures.loss:.4f} |
| validation | {best.balanced_accuracy:.4f} | {best.accuracy:.4f} | {best.loss:.4f} |
| validation, mean over seeds {seeds} | {chosen.mean:.4f} ({spread}) | | |

Balanced accuracy is the mean of the categories' recalls. In brackets: of the test, 95 % intervals
over draws of each category's titles{_singles(figures)}; of the seeds, the standard deviation.
The test part was evaluated once for this export, after everything was chosen, by predicting its
raw titles with these files. {looks}

Of {figures.categories:,} categories with test titles these are \
found least: {_worst(export)}. `metrics.json` has them all.
"""


def _singles(figures: TestFigures) -> str:
    if not figures.single_title:
        return ""
    verb = "has" if figures.single_title == 1 else "have"
    return (
        f" ({figures.single_title:,} of {figures.categories:,} categories {verb} one test title: "
        "how far theirs may be off is taken from all categories)"
    )


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _worst(export: Export) -> str:
    known = [(recall, name, n) for name, (n, recall) in export.figures.recalls.items() if n]
    worst = sorted(known, key=lambda found: (found[0], -found[2], found[1]))[:_WORST]
    return ", ".join(f"{for_markdown(name)} ({recall:.0%} of {n})" for recall, name, n in worst)


def _front(export: Export) -> str:
    opened = export.opened
    if not opened.front:
        return ""
    front = ", ".join(str(trial.number) for trial in opened.front)
    return (
        f" The study has several objectives ({', '.join(opened.settings.objectives)}), of which "
        f"this choice looks at balanced accuracy alone; its Pareto front: {front}."
    )


def _limits_kept(export: Export) -> str:
    limits = export.opened.limits
    costs = export.chosen.trial.user_attrs
    own = " and ".join(f"{costs[name]:.4g} {UNITS[name]}" for name in UNITS if name in costs)
    return f" The study allows {limits}; this model takes {own}." if limits else ""


def _choice(export: Export) -> str:
    opened, chosen = export.opened, export.chosen
    states = [trial.state.name for trial in opened.trials]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    rows = "\n".join(
        f"| {c.trial.number} | {c.trial.value:.4f} | {c.mean:.4f} | "
        f"{'' if c.deviation is None else f'{c.deviation:.4f}'} |"
        for c in export.candidates
    )
    params = ", ".join(f"{name} {value}" for name, value in chosen.trial.params.items())
    params += ", learning rate constant" * (CONSTANT_RATE_ATTR in chosen.trial.user_attrs)
    baselines = [t for t in opened.leaders if BASELINE_ATTR in t.user_attrs]
    baseline = f" The best baseline scored {baselines[0].value:.4f}." if baselines else ""
    exact = (
        "It gave the value of the search to the last bit."
        if export.repeated_exactly
        else f"It gave {export.trained.best.balanced_accuracy:.4f}, not the "
        f"{chosen.trial.value:.4f} of the search: training depends on the processor and versions."
    )
    return f"""## How it was chosen

Study {for_markdown(opened.name)}: {counts} trials; sampler {opened.settings.sampler}, pruner \
{opened.settings.pruner}. The value of a trial is its best validation balanced accuracy, so the
best value of many is a little too good.{baseline} Among the trials below the one with the highest
mean over the seeds was taken, and trained again with seed \
{export.trained.config.training.seed}. {exact}{_front(export)}{_limits_kept(export)}

| trial | value | mean over seeds | standard deviation |
| --- | --- | --- | --- |
{rows}

Parameters: {params}.
"""


def _data(export: Export) -> str:
    prepared, settings = export.opened.inputs.prepared, export.opened.settings
    splits = ", ".join(f"{name} {n:,}" for name, n in prepared.summary["splits"].items())
    split = (
        "as the source splits them"
        if prepared.summary["given_splits"]
        else "split by category, near-duplicates kept on one side"
    )
    vectors = export.opened.inputs.vectors
    return f"""## Data

`{prepared.name}` (fingerprint `{prepared.fingerprint[:16]}`), {split}: {splits} titles of \
{len(prepared.labels):,} categories. Vocabulary: {len(prepared.vocabulary.words):,} words of the \
train titles, stemmer {prepared.summary["stemmer"]}. Word vectors of width \
{settings.embedding_dim}: {for_markdown(vectors.source)}. Titles are cleaned as `config.json` says.
"""


def _limits(export: Export) -> str:
    tau = export.trained.config.training.logit_adjustment
    adjusted = (
        f" Training made up for the categories' sizes (logit adjustment {tau:.2f}): they are not "
        "the odds among titles as frequent as those of the data."
        if tau > 0
        else ""
    )
    missing = "".join(
        f"- {what[0].upper()}{what[1:]}: {for_markdown(which)}.\n"
        for what, which in missing_categories(export.opened.inputs.prepared)
    )
    return f"""## Limits

{missing}\
- It knows the categories and the language of its train titles alone, and answers with one of them
  whatever it is given: for an empty title, or one without a known word, the answer means nothing.
- Probabilities are a softmax that was not calibrated.{adjusted}
- A word not seen in training counts by its stem, if that is known; order of words counts only
  as far as the network sees it (an MLP not at all).
- The figures are of titles like those of the data. Other shops, years or countries differ.
- The last bits of a probability may differ with the processor and with the titles beside it.
"""


def _files(export: Export) -> str:
    return """## Files

| file | what it holds |
| --- | --- |
| `weights.safetensors` | word vectors (own part and stem's summed) and layers, float32 |
| `vocabulary.txt`, `labels.json`, `stop_words.txt` | words and stems by id, categories by id |
| `config.json` | the network and the cleaning of titles |
| `metrics.json`, `versions.json` | all figures; what it was made with |
| `predict.py`, `requirements.txt` | the command, and the packages it needs |
| `models/`, `data_utils/`, `prediction/` | the code that it runs |
| `SHA256SUMS` | checksums of all the others |
"""
