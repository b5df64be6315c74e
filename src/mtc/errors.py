"""Every exception that this package raises on purpose.

    MtcError
    ├── UsageError           wrong arguments, settings or combination of them       exit status 2
    │   └── ConfigError      an unknown or wrong setting in a recipe or --set
    ├── InputError           an input cannot be used at all                         exit status 2
    │   ├── CaptureError     a capture that cannot be read
    │   │   └── UnsupportedFormat   a file of a format that is not read here
    │   ├── DatasetError     a dataset folder that is missing, damaged or unfit
    │   └── ModelError       a model file that is missing, damaged or of another version
    ├── OutputError          an output cannot be written (it exists, the disk is full)   exit status 2
    └── ParityError          an exported model gives other results than the original     exit status 1

The library raises these and never prints or exits; the command line turns them into one line
on stderr and the exit status.
"""


class MtcError(Exception):
    """Base of all expected errors; ``str(error)`` is one line fit for a user."""

    exit_status = 2


class UsageError(MtcError):
    """Wrong arguments, settings, or a combination of them that makes no sense."""


class ConfigError(UsageError):
    """An unknown setting, or a value that a setting cannot take."""


class InputError(MtcError):
    """An input cannot be used at all."""


class CaptureError(InputError):
    """A capture cannot be read: missing, empty, no permission, or no capture at all."""


class UnsupportedFormat(CaptureError):  # noqa: N818 - it reads as a statement about the file
    """A file of a recognised format that this package does not read."""


class DatasetError(InputError):
    """A dataset (or its source) is missing, damaged, or unfit for what is asked of it."""


class ModelError(InputError):
    """A model file is missing, damaged, or of a version that cannot be read."""


class OutputError(MtcError):
    """An output cannot be written: it exists already, or the place is not writable."""


class ParityError(MtcError):
    """An exported model gives other results than the model it was made of: a defect of ours."""

    exit_status = 1
