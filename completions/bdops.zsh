#compdef bdops
# bdops: completion for zsh. Put it into a folder of $fpath as _bdops, or source it after compinit.
_bdops() {
    local -a reply offers
    local line word
    reply=("${(@f)$(_BDOPS_COMPLETE=zsh ${words[1]} "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ $reply[1] == files ]]; then
        _files
        return
    fi
    for line in "${(@)reply[2,-1]}"; do
        word=${line%%$'\t'*}
        if [[ $line == *$'\t'* ]]; then
            offers+=("${word//:/\\:}:${line#*$'\t'}")
        elif [[ -n $line ]]; then
            offers+=("${word//:/\\:}")
        fi
    done
    _describe -V bdops offers
}
if [[ $funcstack[1] == _bdops ]]; then
    _bdops "$@"
else
    compdef _bdops bdops
fi
