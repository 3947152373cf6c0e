from __future__ import annotations

import hashlib
import inspect

import optuna
import pytest
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.samplers import GridSampler, TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.search_space import IntersectionSearchSpace, intersection
from optuna.storages import GrpcStorageProxy, RDBStorage, _cached_storage
from optuna.storages._grpc import client, servicer
from optuna.storages._rdb import models, storage
from optuna.study import _tell
from optuna.trial import Trial, create_trial

from search.sampling import RetryAwareHyperbandPruner, _split_trials
from search.storage.overrides import SearchStorage
from search.storage.tables import _REVISION

# When one of these fails, read what changed upstream, mend search/storage/overrides.py or
# search/sampling.py, then the digest.
UPSTREAM = {
    "storage._create_scoped_session": (storage._create_scoped_session, "5f8c00a4443a"),
    "RDBStorage.__init__": (RDBStorage.__init__, "7d6f0ff9982f"),
    "RDBStorage._create_new_trial": (RDBStorage._create_new_trial, "d4a0919f3da3"),
    "RDBStorage._get_prepared_new_trial": (RDBStorage._get_prepared_new_trial, "9c1a7cdb4ad9"),
    "RDBStorage.set_trial_state_values": (RDBStorage.set_trial_state_values, "243d7a8bab37"),
    "RDBStorage._set_trial_param_without_commit": (
        RDBStorage._set_trial_param_without_commit,
        "ab1da80a1ba6",
    ),
    "RDBStorage._set_trial_attr_without_commit": (
        RDBStorage._set_trial_attr_without_commit,
        "cf3f27024a6f",
    ),
    "RDBStorage._build_frozen_trial_from_trial_model": (
        RDBStorage._build_frozen_trial_from_trial_model,
        "bc74e52b6da4",
    ),
    "RDBStorage.set_trial_intermediate_value": (
        RDBStorage.set_trial_intermediate_value,
        "8400317be0d5",
    ),
    "RDBStorage._set_trial_intermediate_value_without_commit": (
        RDBStorage._set_trial_intermediate_value_without_commit,
        "2b3904f80b2e",
    ),
    "RDBStorage._get_trials": (RDBStorage._get_trials, "19abea574cfe"),
    "RDBStorage._fill_storage_url_template": (
        RDBStorage._fill_storage_url_template,
        "8deccce04e5a",
    ),
    "RDBStorage._get_best_trial_id": (RDBStorage._get_best_trial_id, "21d347ae6821"),
    "storage._VersionManager": (storage._VersionManager, "6dec3ccd33ea"),
    "models.TrialModel": (models.TrialModel, "8a2e1efb423b"),
    "models.TrialHeartbeatModel": (models.TrialHeartbeatModel, "d7d3e60ead5b"),
    "models.TrialSystemAttributeModel": (models.TrialSystemAttributeModel, "b5048e7ad2fe"),
    "models.TrialUserAttributeModel": (models.TrialUserAttributeModel, "a04735c5dc59"),
    "models.StudyUserAttributeModel": (models.StudyUserAttributeModel, "a25c46f37632"),
    "_cached_storage._CachedStorage": (_cached_storage._CachedStorage, "b7c664c88807"),
    "GrpcStorageProxy._setup": (GrpcStorageProxy._setup, "abb93171cd37"),
    "client.GrpcClientCache": (client.GrpcClientCache, "403d79643109"),
    "servicer.OptunaStorageProxyService": (servicer.OptunaStorageProxyService, "98d05bcdb5ed"),
    "_tell._tell_with_warning": (_tell._tell_with_warning, "4f9df48eb09b"),
    "Trial.__init__": (Trial.__init__, "640b6615a4b5"),
    "Trial.relative_params": (Trial.relative_params.fget, "f3a42acc5886"),
    "Trial.should_prune": (Trial.should_prune, "70e298aa70b3"),
    "TPESampler._sample": (TPESampler._sample, "412acdfded73"),
    "sampler._split_trials": (_split_trials, "b0395b336726"),
    "TPESampler._get_internal_repr": (TPESampler._get_internal_repr, "7a2ee7a5ed8b"),
    "TPESampler.infer_relative_search_space": (
        TPESampler.infer_relative_search_space,
        "7edfd76d2bb5",
    ),
    "IntersectionSearchSpace": (IntersectionSearchSpace, "1e92e3b67858"),
    "intersection._calculate": (intersection._calculate, "4d1c4a5aa0bb"),
    "_truncnorm": (_truncnorm, "481c17645bf7"),
    "RDBStorage.get_trial": (RDBStorage.get_trial, "f0a19fc0a6b7"),
    "models.TrialParamModel": (models.TrialParamModel, "97cfe1d9d544"),
    "models.TrialValueModel": (models.TrialValueModel, "cc7798925408"),
    "models.TrialIntermediateValueModel": (models.TrialIntermediateValueModel, "b29cd9836805"),
    "Trial._suggest": (Trial._suggest, "396fddd4a289"),
    "Trial._is_fixed_param": (Trial._is_fixed_param, "49ed0b5e1145"),
    "Trial._get_latest_trial": (Trial._get_latest_trial, "657e793ea201"),
    "optuna.Study.ask": (optuna.Study.ask, "3d1c91ccf402"),
    "optuna.Study._get_trials": (optuna.Study._get_trials, "768bea4369d7"),
    "optuna.Study.stop": (optuna.Study.stop, "026c9429543d"),
    "HyperbandPruner._get_bracket_id": (HyperbandPruner._get_bracket_id, "fd7970614b3c"),
    "SuccessiveHalvingPruner.prune": (SuccessiveHalvingPruner.prune, "9f53daca5ab1"),
    "GridSampler.__init__": (GridSampler.__init__, "8a0e260a922d"),
    "GridSampler.before_trial": (GridSampler.before_trial, "b8043da38bcf"),
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_we_replace_or_call_is_what_we_read(name):
    part, digest = UPSTREAM[name]
    assert hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:12] == digest


def test_every_method_that_uses_the_database_survives_an_outage():
    # Heartbeats and deletion are not called; what starts with these ends in one of the others.
    calls = {
        name
        for name, method in vars(RDBStorage).items()
        if inspect.isfunction(method)
        and "_create_scoped_session(" in inspect.getsource(method)
        and name not in ("record_heartbeat", "_get_stale_trial_ids", "delete_study")
    }
    assert calls <= set(vars(SearchStorage))


def test_hyperband_keeps_a_retried_trial_in_its_bracket():
    study = optuna.create_study(study_name="s")
    pruner = RetryAwareHyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3)
    pruner._try_initialization(study)
    first, retried = create_trial(value=0.0), create_trial(value=0.0)
    for number in range(20):
        first.number, retried.number = number, number + 13
        retried.user_attrs = {"configuration": number}
        assert pruner._get_bracket_id(study, retried) == pruner._get_bracket_id(study, first)
        assert retried.number == number + 13


def test_the_revision_of_the_tables_is_the_one_that_is_not_asked_for():
    manager = RDBStorage("sqlite://")._version_manager
    assert manager.get_head_version() == _REVISION
