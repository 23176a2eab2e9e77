"""What an operator may set, and what is refused before anything starts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from deepsic.errors import UsageError
from pipelines.serving.settings import TOKEN_VARIABLE, ServeSettings, settings_from

CONFIG = Path(__file__).parents[3] / "pipelines" / "serve.yaml"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray, when it is imported
def test_the_shipped_config_is_valid_for_ray_and_for_us() -> None:
    from ray.serve.schema import ServeDeploySchema

    reply = yaml.safe_load(CONFIG.read_text())
    ServeDeploySchema.model_validate(reply)
    (application,) = reply["applications"]
    settings = settings_from(application["args"])
    assert settings.models == ("sic",)
    assert application["import_path"] == "pipelines.serving.ray.deploy:build"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"modles": ["sic"]}, "unknown settings modles"),
        ({"models": []}, "models is empty"),
        ({"max_pixels": 0}, "max_pixels=0 must be positive"),
        ({"body_timeout_s": -1}, "body_timeout_s=-1 must not be negative"),
        ({"min_replicas": 3, "max_replicas": 2}, "min_replicas=3 is more than"),
    ],
)
def test_nonsense_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings_from(arguments)


def test_every_setting_says_what_it_is() -> None:
    source = Path(ServeSettings.__module__.replace(".", "/") + ".py")
    text = (CONFIG.parents[1] / source).read_text()
    for field in fields(ServeSettings):
        _, _, after = text.partition(f"    {field.name}: ")
        assert after.split("\n", 2)[1].strip().startswith('"""'), field.name


def test_tokens_that_can_be_guessed_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    with pytest.raises(UsageError, match="at least 16"):
        ServeSettings().token()
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert ServeSettings().token() is None
    with pytest.raises(UsageError, match="can't be read"):
        ServeSettings(token_file=str(tmp_path / "missing")).token()
