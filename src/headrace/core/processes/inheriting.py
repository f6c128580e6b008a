"""Which environment variables each kind of process inherits: what it needs, and no credentials of others.

A model is code, and so is what a build runs: a worker and a builder get what is named here, what the configuration
names (`pass_env`), and nothing else. All functions take the environment that headrace itself was started with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

_MACHINE = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TERM", "TZ", "TZDIR", "LANG", "LANGUAGE", "LC_*",
    "TMPDIR", "TMP", "TEMP", "XDG_*", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*", "MALLOC_*", "GLIBC_TUNABLES",
    "PYTHON*", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
)  # fmt: skip
_NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
)  # fmt: skip
_MODEL = (
    # Threads and numerics.
    "OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "GOTO_*", "BLIS_*", "NUMEXPR_*", "VECLIB_*", "NUMBA_*", "LOKY_*",
    "JOBLIB_*", "RAYON_*", "POLARS_*", "ARROW_*", "ORT_*",
    # Accelerators.
    "CUDA_*", "CUDNN_*", "CUBLAS_*", "NVIDIA_*", "NCCL_*", "GPU_*", "HIP_*", "HSA_*", "ROCR_*", "ROCM_*", "MIOPEN_*",
    "XLA_*", "TPU_*", "ONEAPI_*", "SYCL_*", "TRITON_*",
    # Frameworks, and where they keep what they have downloaded.
    "TORCH*", "PYTORCH_*", "TF_*", "JAX_*", "KERAS_*", "TRANSFORMERS_*", "TOKENIZERS_*", "HF_*", "DIFFUSERS_*",
    "SENTENCE_TRANSFORMERS_HOME", "TIKTOKEN_CACHE_DIR", "NLTK_DATA", "SPACY_*", "MPLCONFIGDIR", "MPLBACKEND",
    "JAVA_HOME", "SPARK_HOME", "HADOOP_HOME", "HADOOP_CONF_DIR", "R_HOME", "R_LIBS*",
    "MLFLOW_*",
)  # fmt: skip
_BUILD = (
    "UV_*", "PIP_*", "NETRC", "GIT_*", "SSH_AUTH_SOCK", "CC", "CXX", "FC", "F77", "AR", "LD", "CFLAGS", "CXXFLAGS",
    "CPPFLAGS", "FFLAGS", "LDFLAGS", "CPATH", "*_INCLUDE_PATH", "LIBRARY_PATH", "PKG_CONFIG*", "CMAKE_*", "MAKEFLAGS",
    "MAX_JOBS", "CARGO_*", "RUSTUP_*", "RUSTFLAGS", "CUDA_HOME", "CUDA_PATH", "JAVA_HOME", "SOURCE_DATE_EPOCH",
    # Where the interpreters are that models were trained with, and what the shims on PATH need.
    "PYENV_*", "ASDF_*", "MISE_*",
)  # fmt: skip
_REGISTRY_NEVER = ("HEADRACE_WEBHOOK_SECRET", "UV_*", "PIP_*", "OTEL_*")

_SECRET_WORDS = (
    "APIKEY", "AUTH", "AUTHORIZATION", "CREDENTIAL", "CREDENTIALS", "DSN", "HEADER", "HEADERS", "KEK", "KEY", "KEYS",
    "PASS", "PASSPHRASE", "PASSWD", "PASSWORD", "PAT", "PRIVATE", "PWD", "SAS", "SECRET", "SECRETS", "TOKEN", "TOKENS",
    "USERNAME",
)  # fmt: skip
_CLOUDS = ("AWS_*", "AZURE_*", "GOOGLE_*", "GCP_*", "DATABRICKS_*")
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/@\s]*@")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def for_worker(environ: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """What a model's processes get; `wanted` are names and patterns (``AWS_*``) that the user hands on beside that.

    Of what is there for models, names that say that they hold a secret and addresses with a password are left out.
    """
    made = _chosen(environ, (*_MACHINE, *_MODEL))
    made = {name: value for name, value in made.items() if not (_secret(name) or _PASSWORD_IN_ADDRESS.search(value))}
    return {**made, **_chosen(environ, _NETWORK), **_chosen(environ, wanted)}


def for_builder(environ: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """What a build of an environment gets: the indexes with their passwords, compilers, and what is `wanted`."""
    return _chosen(environ, (*_MACHINE, *_NETWORK, *_BUILD, *wanted))


def for_agent(environ: Mapping[str, str]) -> dict[str, str]:
    """What the registry's agent gets: all but the secrets of others, for each store has variables of its own."""
    return {name: value for name, value in environ.items() if not _any(name, _REGISTRY_NEVER)}


def for_gateway(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a gateway."""
    return _chosen(environ, (*_MACHINE, *_NETWORK))


def for_recorder(environ: Mapping[str, str], *, mlflow: bool = False) -> dict[str, str]:
    """What the recorder gets: OpenTelemetry's variables are read by its exporter; for `mlflow` what the agent gets."""
    own = _chosen(environ, (*_MACHINE, *_NETWORK, "OTEL_*"))
    return {**for_agent(environ), **own} if mlflow else own


def kept_back(environ: Mapping[str, str], wanted: Sequence[str]) -> frozenset[str]:
    """The names of the variables that the processes of a model do not get."""
    return frozenset(environ) - frozenset(for_worker(environ, wanted))


def worth_telling(names: Iterable[str]) -> list[str]:
    """Those of `names` that a model may well have been meant to get: credentials that are not headrace's own."""
    return sorted(
        name
        for name in names
        if (_secret(name) or _any(name, _CLOUDS)) and not _any(name, ("HEADRACE_*", "UV_*", "PIP_*", "OTEL_*"))
    )


def hint(message: str, kept: frozenset[str]) -> str:
    """What to do where `message` names a variable that is kept back; empty where it names none."""
    named = sorted(kept.intersection(_VARIABLE.findall(message)))
    if not named:
        return ""
    names = ", ".join(named)
    return f"; {names} is set, and kept from models: hand it on with pass_env: [{names}] in the model's section"


def _chosen(environ: Mapping[str, str], patterns: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if _any(name, patterns)}


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _secret(name: str) -> bool:
    return any(word in _SECRET_WORDS for word in name.upper().split("_"))
