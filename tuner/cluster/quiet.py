"""Ray without its chatter: what it reads from the environment, and its loggers."""

import logging
import os
import warnings

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's older output is silent at verbose=0; the newer one is not
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables hold what its CSV and JSON files would
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the recorder prints a line for each
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
BEHAVIOUR = {
    "RAY_AUTH_MODE": "token",  # Ray listens on every interface
    # A driver whose head is gone ends after that; 60 s by default
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
    # A worker group's reports wait for it; 2 s by default
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less per worker group
    "RAY_USAGE_STATS_ENABLED": "0",
    # A resumed search is rebuilt from the tables, not from Ray's snapshots
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}
LOGGERS = ("ray", "ray.tune", "ray.train", "ray.air", "ray.data")
# They log a traceback when a storage can't be written, which the command reports in a sentence
SILENCED = ("ray.tune.execution.experiment_state", "ray.train._internal.storage")
FILTERED = "ray.tune.execution.tune_controller"  # logs other faults too


def prepare_environment(verbose: bool) -> None:
    """Set what Ray reads on import; call it before anything imports ray.

    The person's own values stay.
    """
    for name, value in {**BEHAVIOUR, **({} if verbose else QUIET)}.items():
        os.environ.setdefault(name, value)


def quieten_loggers() -> None:
    """Silence warnings and loggers of Ray, but for errors that nobody else reports."""
    warnings.filterwarnings("ignore", module=r"ray\b")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger(FILTERED).addFilter(is_not_about_storage)


def is_not_about_storage(record: logging.LogRecord) -> bool:
    """Return whether a record is about something else than a storage that can't be used."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError))
