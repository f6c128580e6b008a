"""Which variables each kind of process inherits."""

import pytest

from headrace.core.processes import inheriting

SECRETS = {
    "HEADRACE_WEBHOOK_SECRET": "s",
    "MLFLOW_TRACKING_USERNAME": "u",
    "MLFLOW_TRACKING_PASSWORD": "p",
    "MLFLOW_TRACKING_TOKEN": "t",
    "MLFLOW_TRACKING_URI": "https://user:password@registry",
    "MLFLOW_REGISTRY_URI": "postgresql://user:password@db/mlflow",
    "DATABRICKS_TOKEN": "t",
    "DATABRICKS_HOST": "h",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "a",
    "AWS_SESSION_TOKEN": "a",
    "AWS_PROFILE": "a",
    "AZURE_STORAGE_CONNECTION_STRING": "a",
    "GOOGLE_APPLICATION_CREDENTIALS": "g",
    "UV_INDEX_PRIVATE_PASSWORD": "i",
    "UV_DEFAULT_INDEX": "https://user:password@index/simple",
    "PIP_INDEX_URL": "https://user:password@index/simple",
    "REDIS_URL": "redis://:password@cache",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=x",
    "HF_TOKEN": "h",
    "HUGGING_FACE_HUB_TOKEN": "h",
    "OPENAI_API_KEY": "o",
    "SSH_AUTH_SOCK": "/tmp/agent",  # noqa: S108 - a name
}
MACHINE = dict.fromkeys(("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH"), "x")
NETWORK = {"HTTPS_PROXY": "http://user:password@proxy", "no_proxy": "localhost", "SSL_CERT_FILE": "/ca.pem"}
MODEL = {
    "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "all", "HF_HUB_OFFLINE": "1",
    "HF_HOME": "/hf", "TOKENIZERS_PARALLELISM": "false", "TORCH_HOME": "/torch", "MLFLOW_ENABLE_ASYNC_LOGGING": "1",
    "MLFLOW_S3_ENDPOINT_URL": "http://minio:9000",
}  # fmt: skip
ALL = {**SECRETS, **MACHINE, **NETWORK, **MODEL, "MY_OWN": "1"}


def test_a_model_gets_the_machine_and_no_secret() -> None:
    assert inheriting.for_worker(ALL, ()) == {**MACHINE, **NETWORK, **MODEL}


def test_a_plain_address_of_a_registry_is_no_secret() -> None:
    environ = {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    assert inheriting.for_worker(environ, ()) == environ


@pytest.mark.parametrize(
    ("wanted", "more"),
    [
        (["OPENAI_API_KEY"], {"OPENAI_API_KEY"}),
        (["MY_*"], {"MY_OWN"}),
        (["HF_TOKEN", "MLFLOW_TRACKING_URI"], {"HF_TOKEN", "MLFLOW_TRACKING_URI"}),
        (["openai_api_key", "NOT_SET"], set()),
        (["*"], {*SECRETS, "MY_OWN"}),
    ],
)
def test_what_is_wanted_is_handed_on(wanted: list[str], more: set[str]) -> None:
    assert set(inheriting.for_worker(ALL, wanted)) == {*MACHINE, *NETWORK, *MODEL, *more}
    assert inheriting.kept_back(ALL, wanted) == {*SECRETS, "MY_OWN"} - more


def test_the_others_get_what_they_need() -> None:
    assert inheriting.for_gateway(ALL) == {**MACHINE, **NETWORK}
    assert set(inheriting.for_recorder(ALL)) == {*MACHINE, *NETWORK, "OTEL_EXPORTER_OTLP_HEADERS"}
    builder = set(inheriting.for_builder(ALL, ()))
    assert builder == {*MACHINE, *NETWORK, "UV_INDEX_PRIVATE_PASSWORD", "UV_DEFAULT_INDEX", "PIP_INDEX_URL",
                       "SSH_AUTH_SOCK"}  # fmt: skip
    assert set(inheriting.for_builder(ALL, ["AWS_PROFILE"])) == {*builder, "AWS_PROFILE"}
    not_the_agents = {"HEADRACE_WEBHOOK_SECRET", "UV_INDEX_PRIVATE_PASSWORD", "UV_DEFAULT_INDEX", "PIP_INDEX_URL",
                      "OTEL_EXPORTER_OTLP_HEADERS"}  # fmt: skip
    assert set(inheriting.for_agent(ALL)) == set(ALL) - not_the_agents


def test_what_looks_wanted_is_told_and_headraces_own_is_not() -> None:
    kept = inheriting.kept_back({**ALL, "LS_COLORS": "x"}, ["AWS_*"])
    told = inheriting.worth_telling(kept)
    assert {"OPENAI_API_KEY", "DATABRICKS_HOST", "HF_TOKEN"} <= set(told)
    assert not {"HEADRACE_WEBHOOK_SECRET", "PIP_INDEX_URL", "LS_COLORS", "MY_OWN", "AWS_PROFILE"} & set(told)


def test_a_failure_that_names_a_variable_says_what_to_do() -> None:
    kept = inheriting.kept_back(ALL, ())
    said = inheriting.hint("OpenAIError: set the OPENAI_API_KEY environment variable", kept)
    assert "pass_env: [OPENAI_API_KEY]" in said
    assert inheriting.hint("KeyError: 'MY_OWNER'", kept) == ""


def test_a_build_finds_the_interpreters_that_are_not_below_home() -> None:
    environ = {"PYENV_ROOT": "/opt/pyenv", "ASDF_DATA_DIR": "/opt/asdf", "MISE_DATA_DIR": "/opt/mise"}
    assert inheriting.for_builder(environ, ()) == environ
    assert inheriting.for_worker(environ, ()) == {}
