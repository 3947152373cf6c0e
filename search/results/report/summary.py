"""What the figures come to, in sentences: the same in HTML and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from optuna.trial import TrialState

from search.limits import is_over
from search.results.report.facts import Facts
from search.results.report.formats import duration, percent, plural, points, value
from search.results.report.leaderboard import Spread


@dataclass(frozen=True)
class Summary:
    """A sentence or two for each section; ``tiles`` are (figure, what it is)."""

    lede: str
    tiles: tuple[tuple[str, str], ...]
    leaderboard: str
    baselines: str
    history: str
    importance: str
    pruning: str
    categories: str
    cost: str


def summarise(facts: Facts) -> Summary:
    return Summary(
        lede=_lede(facts),
        tiles=_tiles(facts),
        leaderboard=_leaderboard(facts),
        baselines=_baselines(facts),
        history=_history(facts),
        importance=_importance(facts),
        pruning=_pruning(facts),
        categories=_categories(facts),
        cost=_cost(facts),
    )


def _lede(facts: Facts) -> str:
    best, counts = facts.best, facts.course.counts
    counted = counts.get("COMPLETE", 0) + counts.get("PRUNED", 0)
    text = (
        f"The best of {plural(counted, 'trial')} reaches a balanced accuracy of "
        f"{value(best.value)} on validation"
    )
    if facts.ahead is None:
        text += "; no baseline is there to measure it by."
    elif facts.ahead == 0:
        text += ": it is a baseline itself."
    else:
        text += f", {points(facts.ahead)[1:]} above the best baseline."
    spread = facts.leaderboard.places[0].spread
    if spread is not None:
        text += f" Trained again with {plural(spread.count, 'new seed')}, it has {_mean(spread)}."
    if facts.limits:
        text += f" Limits: {facts.limits}."
    if running := counts.get("RUNNING", 0) + counts.get("WAITING", 0):
        text += f" The study is not over: {plural(running, 'trial')} under way or waiting."
    return text


def _mean(spread: Spread) -> str:
    if spread.low is None or spread.high is None:
        return value(spread.mean)
    return f"{value(spread.mean)} on average ({_interval(spread)})"


def _interval(spread: Spread) -> str:
    if spread.low is None or spread.high is None:
        return "one seed, so no interval"
    return f"95% interval {value(spread.low)} to {value(spread.high)}"


def _tiles(facts: Facts) -> tuple[tuple[str, str], ...]:
    pruning, counts = facts.pruning, facts.course.counts
    states = ", ".join(f"{counts[s]:,} {s.lower()}" for s in counts if s != "COMPLETE")
    trials = sum(n for state, n in counts.items() if state in ("COMPLETE", "PRUNED"))
    return (
        (value(facts.best.value), f"best value, trial {facts.best.number}"),
        (points(facts.ahead).removesuffix(" points"), "points above the best baseline"),
        (f"{trials:,}", f"trials{f', {states}' if states else ''}"),
        (
            duration(facts.course.seconds),
            f"of training; pruning saved about {pruning.saved_share:.0%}"
            if pruning.pruned
            else "of training; nothing was pruned",
        ),
    )


def _leaderboard(facts: Facts) -> str:
    board = facts.leaderboard
    first, steadiest = board.places[0], board.steadiest
    if steadiest is None or first.spread is None or steadiest.spread is None:
        return f"Trial {first.trial.number} has the best value."
    if len(board.places) == 1:
        return f"Trial {first.trial.number} with new seeds: {_mean(first.spread)}."
    if steadiest is not first:
        chance = " Their intervals overlap: it may be chance."
        return (
            f"Trial {first.trial.number} has the best value in the search, but with new seeds "
            f"trial {steadiest.trial.number} is better on average: {value(steadiest.spread.mean)} "
            f"against {value(first.spread.mean)}."
            f"{chance if _overlap(steadiest.spread, first.spread) else ''}"
        )
    text = f"Trial {first.trial.number} has the best value, and with new seeds the best mean."
    close = [p.trial.number for p in board.places[1:] if _overlap(p.spread, first.spread)]
    if close:
        others = " and ".join(map(str, close)) if len(close) < 3 else f"{len(close)} others"
        noun = {1: "trial ", 2: "trials "}.get(len(close), "")
        text += f" Its interval overlaps with that of {noun}{others}: they may be as good."
    return text


def _overlap(one: Spread | None, other: Spread | None) -> bool:
    if one is None or one.low is None or one.high is None:
        return False
    if other is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def _baselines(facts: Facts) -> str:
    if not facts.baselines:
        return "The study has no complete baseline to compare with."
    if facts.ahead == 0:
        return f"The best trial, {facts.best.number}, is a baseline: nothing has beaten it yet."
    lead, rival = facts.leaderboard.lead, facts.baselines[0]
    text = (
        f"Trial {facts.best.number} beats the best baseline, trial {rival.number}, by "
        f"{points(facts.ahead)[1:]}."
    )
    if lead is None:
        return text
    if lead.low is None or lead.high is None:
        return f"{text} With a new seed for both the difference is {points(lead.mean)}."
    if lead.low > 0:
        certain = "clear of zero"
    elif lead.high < 0:
        certain = "clear of zero: with new seeds the baseline is better"
    else:
        certain = "not clear of zero: it may be chance"
    return (
        f"{text} Seed by seed, over {lead.count} new seeds, the difference is {points(lead.mean)} "
        f"(95% interval {100 * lead.low:+.1f} to {100 * lead.high:+.1f}), {certain}."
    )


def _history(facts: Facts) -> str:
    course = facts.course
    if course.started is None or course.ended is None or course.wall_seconds is None:
        return ""
    # Where clocks were changed in between, the offset from UTC tells one hour from the other.
    shifted = course.started.utcoffset() != course.ended.utcoffset()
    form = "%Y-%m-%d %H:%M" + "%z" * shifted
    return (
        f"From {course.started:{form}} to {course.ended:{form}}, "
        f"{duration(course.wall_seconds)} with all pauses, by "
        f"{plural(max(course.workers, 1), 'worker process', 'worker processes')}."
    )


def _importance(facts: Facts) -> str:
    found = facts.importance
    if not found.shares:
        if found.num_trials < found.fewest:
            return (
                f"Importances are left out: {plural(found.num_trials, 'trial')} with a value "
                f"{'is' if found.num_trials == 1 else 'are'} too few; they are given from "
                f"{found.fewest} on."
            )
        return "Importances are left out: all trials have the same value, or no parameters."
    first, *others = found.shares
    text = f"Most is decided by {first}, with {percent(found.shares[first])} of the importance"
    if others:
        text += f"; next comes {others[0]}, with {percent(found.shares[others[0]])}"
    text += "."
    if found.is_rough:
        text += f" With {found.num_trials} trials this is a rough figure."
    return text


def _pruning(facts: Facts) -> str:
    pruning = facts.pruning
    if facts.settings.pruner == "none":
        return "The study has no pruner: every trial was trained to its end."
    if not pruning.pruned:
        return f"The pruner {facts.settings.pruner} has stopped no trial."
    return (
        f"The pruner {facts.settings.pruner} stopped {pruning.pruned:,} of the "
        f"{plural(pruning.finished, 'trial')} that it may stop. {pruning.epochs_trained:,.1f} of "
        f"{pruning.epochs_planned:,.0f} epochs were trained; that saved an estimated "
        f"{duration(pruning.saved_seconds)}, {percent(pruning.saved_share)} of what all would "
        "have taken."
    )


def _categories(facts: Facts) -> str:
    found = facts.categories
    if found is None:
        return ""
    repeated = (
        "it came to the stored value, bit for bit"
        if found.exact
        else f"it came to {value(found.balanced_accuracy)}, not to {value(facts.best.value)}, as "
        "another processor or other versions may"
    )
    perfect = plural(found.perfect, "category", "categories") if found.perfect else "no category"
    return (
        f"Trial {found.trial} was trained once more ({repeated}) and asked about all "
        f"{plural(found.titles, 'validation title')} of "
        f"{plural(len(found.all), 'category', 'categories')}. It finds all titles of {perfect}; "
        f"the median recall is {percent(median(found.recalls))}. Over all titles it is right in "
        f"{percent(found.accuracy)}."
    )


def _cost(facts: Facts) -> str:
    course = facts.course
    attempts = sum(cost.attempts for cost in course.costs)
    text = f"{plural(attempts, 'attempt')} took {duration(course.seconds)} of training time"
    pruned = sum(t.state == TrialState.PRUNED and not is_over(t) for t in facts.trials)
    text += f", {pruned:,} of them cut short by the pruner." if pruned else "."
    if facts.leaderboard.repeat_seconds:
        again = duration(facts.leaderboard.repeat_seconds)
        text += f" The new seeds of the leaderboard took {again} on top."
    return text
