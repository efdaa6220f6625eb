"""Other commands, given what they can't use."""

from error_case import case

COMMANDS = (
    ("a command that there is none of", "fly", "No such command", ""),
    ("no recipe", "run", "Missing argument", r"(?<=argument ').*(?=')"),
    ("an option that there is none of", "check my.toml --fast", "No such option", r"(?<=--fast).*"),
    ("a run that is no run", "evaluate photos", "no run folder", ""),
    (
        "a model of a folder without one",
        "predict photos photos",
        "no readable model",
        r"(?<=readable model \().*?(?=\);)",
    ),
    ("features to a file that exists", "features run photos --out my.toml", "is not overwritten", ""),
    ("one run to compare", "compare run", "at least two", ""),
    ("a run to compare that isn't there", "compare run gone", "no run folder", ""),
    ("an unfinished recipe to reproduce", "reproduce my.toml", "nothing to compare with", ""),
    ("seeds that are no numbers", "run my.toml --seeds few", "seeds are written like", ""),
    ("two options that exclude each other", "run my.toml --seed 1 --seeds 0-1", "can't go together", ""),
    ("nothing to go on with", "run my.toml --resume", "no unfinished run", ""),
    ("a cluster that there is none of", "edit run merge 0 9", "9", ""),
    ("nothing to take back", "edit run undo", "no", ""),
    ("edits that are no file of the page", "edit run apply my.toml", "my.toml", r"(?<=\().*(?=\))"),
    ("a confidence beyond 1", "edit run drop-outliers --below 2", "Invalid value for '--below'", r"(?<=': ).*"),
    ("a report of no run", "report photos", "no", ""),
    ("a report over a file", "report run --out my.toml", "is not overwritten", ""),
    ("a model as a file that exists", "export run --format safetensors --out my.toml", "is not overwritten", ""),
    ("a format that there is none of", "export run --format pickle", "Invalid value for '--format'", r"(?<=': ).*"),
    ("a range that is none", "choose-k run --range few", "two numbers such as", ""),
    ("a range upside down", "choose-k run --range 9-2", "9", ""),
    ("a component that there is none of", "show loss swaw", "Did you mean 'swav'?", ""),
    ("a kind that there is none of", "list los", "Did you mean 'loss'?", ""),
    ("a new package of no kind", "new gizmo mine", "gizmo", ""),
    ("a new package with a name that is none", "new loss 'my loss'", "my loss", ""),
    ("a ladder that isn't there", "ladder gone --seeds 0", "gone", ""),
    ("figures of no data set", "data stats gone", "gone", ""),
    ("a folder to look at that isn't there", "inspect gone", "gone", ""),
    ("one cluster", "cluster photos -k 1", "Invalid value for '-k'", r"(?<=': ).*"),
    ("more clusters than images", "cluster photos -k 500 --from-scratch --out new", "500 clusters", ""),
    ("signals of a folder without runs", "signals photos", "No finished run", ""),
    ("a probe without labels", "evaluate run --probe linear", "label", ""),
    ("pages over somebody's files", "schema --out my.toml", "not overwritten", ""),
    ("something to measure that there is none of", "bench my.toml --against nothing", "nothing", ""),
)

for _what, _command, _says, _vague in COMMANDS:

    @case("commands", _what, _says, vague=_vague)
    def _prepared(at, command=_command):
        return command
