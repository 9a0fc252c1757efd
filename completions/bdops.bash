# bdops: completion for bash (4.4 or newer). Load it from ~/.bashrc, or put it into bash-completion's folder.
_bdops() {
    local reply kind
    reply=$(_BDOPS_COMPLETE=bash COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "$1" 2>/dev/null) || return
    kind=${reply%%$'\n'*}
    if [[ $kind == files ]]; then
        compopt -o default -o filenames
        COMPREPLY=()
        return
    fi
    local IFS=$'\n'
    set -f
    if [[ $reply == *$'\n'* ]]; then COMPREPLY=(${reply#*$'\n'}); else COMPREPLY=(); fi
    set +f
}
complete -F _bdops bdops
