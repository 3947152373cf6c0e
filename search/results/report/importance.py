"""Which parameters decided whether a trial was among the best."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.sampler_view import StudyView

# PED-ANOVA compares the best tenth with all trials. Optuna advises five trials in that tenth;
# with fewer than two it says nothing at all.
_STEADY, _FEWEST = 50, 20


@dataclass(frozen=True)
class Importance:
    """Shares that sum to 1, the largest first; empty if there are too few trials."""

    shares: dict[str, float]
    num_trials: int
    fewest: int = _FEWEST

    @property
    def is_rough(self) -> bool:
        return self.num_trials < _STEADY


def importance(study: optuna.Study) -> Importance:
    """PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255) over COMPLETE and PRUNED trials within
    their limits.

    A pruned trial counts with the value it had reached, as it does for the sampler: the
    survivors of a pruner alone are too few, and too much alike.
    """
    view = StudyView(study)
    found = view.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied = len({trial.values[0] for trial in found}) > 1 and any(trial.params for trial in found)
    if len(found) < _FEWEST or not varied:
        return Importance({}, len(found))
    # It brings scikit-learn, for another evaluator, and takes a second.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    evaluator = PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = get_param_importances(
            view,  # type: ignore[arg-type]
            evaluator=evaluator,
            target=_missed_accuracy if len(study.directions) > 1 else None,
        )
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return Importance({name: float(share) for name, share in ranked}, len(found))


def _missed_accuracy(trial: FrozenTrial) -> float:
    # PED-ANOVA takes a low target for good.
    return -trial.values[0]
