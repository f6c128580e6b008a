"""MLflow warns while it is imported; imported here, once, no test has to allow for that."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.pyfunc.scoring_server  # noqa: F401
