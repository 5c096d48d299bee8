"""The plugin inside verl: found by its entry point, everything registered, failures said aloud."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points

import pytest

pytest.importorskip("verl", reason="verl is not installed; `make verl` tests in an environment that has it")

from guerdon.adapters.after_import import after_import
from guerdon.adapters.verl import estimators
from guerdon.errors import TrainingError


def test_verl_finds_the_entry_point() -> None:
    found = {each.name: each.value for each in entry_points(group="verl.plugins")}
    assert found["guerdon"] == "guerdon.adapters.verl_register"
    assert "guerdon.adapters.verl_register" in sys.modules  # `import verl` has loaded it


def test_everything_is_in_verls_registries() -> None:
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
    from verl.trainer.ppo import core_algos
    from verl.trainer.ppo.v1 import PPOTrainerSync, get_trainer_cls

    assert set(estimators()) <= set(core_algos.ADV_ESTIMATOR_REGISTRY)
    assert len(estimators()) >= 38
    for name in ("reinforce", "ppo", "gspo", "cispo", "minirl"):
        assert core_algos.get_policy_loss_fn(f"guerdon_{name}").__name__ == f"guerdon_{name}"
    assert get_reward_manager_cls("guerdon").__module__ == "guerdon.adapters.verl_reward"
    assert issubclass(get_trainer_cls("guerdon_sync"), PPOTrainerSync)
    assert get_trainer_cls("guerdon_colocate_async") and get_trainer_cls("guerdon_separate_async")


def test_the_configuration_takes_the_name() -> None:
    from verl.trainer.config import AlgoConfig

    assert AlgoConfig(adv_estimator="guerdon_gigpo").adv_estimator == "guerdon_gigpo"


def test_another_verl_is_refused_aloud(caplog: pytest.LogCaptureFixture) -> None:
    from guerdon.adapters.verl_register import plug_in

    with pytest.raises(TrainingError, match=r"verl >= 0\.9, < 0\.10, and 0\.8\.1 is installed"):
        plug_in("0.8.1")
    assert "guerdon is not available in verl" in caplog.text
    assert "0.8.1 is installed" in caplog.text


def test_a_part_that_fails_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guerdon.adapters import verl_register

    def broken() -> None:
        raise AttributeError("verl has moved it")

    monkeypatch.setattr(verl_register, "PARTS", {"policy losses": ("verl.trainer.ppo.core_algos", broken)})
    with caplog.at_level(logging.ERROR, "guerdon.verl"):
        verl_register.plug_in("0.9.1")
    assert "the policy losses could not be registered" in caplog.text
    assert "verl has moved it" in caplog.text


def test_after_import_calls_at_once_where_the_module_is_there() -> None:
    called: list[int] = []
    after_import("verl", lambda: called.append(1))
    assert called == [1]
