"""`tiepoint completion`: a script for a shell, which then completes verbs, options and names of recipes."""

from functools import partial
from typing import Literal

from tyro.conf import Positional

from tiepoint.cli import GROUPS, VERBS
from tiepoint.cli import main as tiepoint
from tiepoint.cli.output import publish
from tiepoint.cli.parse import flags, help_text

EXAMPLES = {
    "bash > ~/.local/share/bash-completion/completions/tiepoint": "Complete in every new bash.",
    "fish > ~/.config/fish/completions/tiepoint.fish": "Complete in fish.",
}
SCRIPTS = {
    "bash": """_tiepoint() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} from=1 words=""
    [[ $COMP_CWORD -gt 1 && ${{COMP_WORDS[1]}} == help ]] && from=2
    case "${{COMP_WORDS[*]:from:COMP_CWORD-from}}" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _tiepoint tiepoint""",
    "zsh": """#compdef tiepoint
_tiepoint() {{
    local cur="${{words[CURRENT]}}" said="${{(j: :)words[2,CURRENT-1]}}" choices=""
    [[ $said == help || $said == "help "* ]] && said="${{${{said#help}}# }}"
    case "$said" in
{cases}
    esac
    if [[ -n $choices ]]; then compadd -- ${{=choices}}; else _files; fi
}}
compdef _tiepoint tiepoint""",
    "fish": """function __tiepoint_words
    set -l cur (commandline -ct)
    set -l said (commandline -opc)
    set -e said[1]
    test "$said[1]" = help; and set -e said[1]
    switch (string join ' ' -- $said)
{cases}
    end
end
complete -c tiepoint -a '(__tiepoint_words)'""",
}
# What stands before the cursor and the words that may follow; of a verb options follow a dash, and other words no dash.
GROUP = {
    "bash": '    "{said}") words="{words}" ;;',
    "zsh": '    ("{said}") choices="{words}" ;;',
    "fish": "    case '{said}'\n        string split ' ' -- '{words}'",
}
VERB = {
    "bash": '    "{said}" | "{said} "*) [[ $cur == -* ]] && words="{flags}" || words="{words}" ;;',
    "zsh": '    ("{said}" | "{said} "*) [[ $cur == -* ]] && choices="{flags}" || choices="{words}" ;;',
    "fish": "    case '{said}' '{said} *'\n        string match -q -- '-*' $cur; and string split ' ' -- '{flags}'"
    "; or string split -n ' ' -- '{words}'",
}


def main(shell: Positional[Literal["bash", "zsh", "fish"]], /, *, json: bool = False) -> None:
    """Print a script that lets a shell complete verbs, options and names of recipes.

    The script holds the words: completing runs no Python. Print it anew after an update of tiepoint.

    Args:
        shell: bash, zsh or fish.
        json: Print one JSON object that holds the script.
    """
    script = write_script(shell)
    publish({"shell": shell, "script": script}, json, [], [script])


def write_script(shell: str) -> str:
    """The script for bash, zsh or fish."""
    from tiepoint.training.recipe_file import recipe_names

    firsts = list(dict.fromkeys(verb.split()[0] for verb in VERBS))
    cases = [GROUP[shell].format(said="", words=" ".join([*firsts, "help", "-h", "--help", "-V", "--version"]))]
    for group in GROUPS:
        seconds = [verb.split()[1] for verb in VERBS if verb.split()[0] == group]
        cases.append(GROUP[shell].format(said=group, words=" ".join([*seconds, "-h", "--help"])))
    for verb in VERBS:
        words = {"train": recipe_names(), "compare": recipe_names(), "completion": list(SCRIPTS)}.get(verb, [])
        known = flags(help_text(partial(tiepoint, [*verb.split(), "--help"])))
        cases.append(VERB[shell].format(said=verb, flags=" ".join(known), words=" ".join(words)))
    return SCRIPTS[shell].format(cases="\n".join(cases))
