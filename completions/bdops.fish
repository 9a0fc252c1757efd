# bdops: completion for fish. Put it into ~/.config/fish/completions as bdops.fish.
function __bdops
    set -l words (commandline -opc)
    set -l reply (env _BDOPS_COMPLETE=fish $words[1] $words[2..-1] (commandline -ct) 2>/dev/null)
    if test "$reply[1]" = files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $reply[2..-1]
    end
end
complete -c bdops -f -a '(__bdops)'
