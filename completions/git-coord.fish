# fish: `git coord <TAB>` and `git-coord <TAB>`.

function __git_coord_complete
    set -l typed (commandline -opc)
    set -l at (contains -i coord $typed; or echo 1)
    set -l after $typed[(math $at + 1)..-1]
    for line in (env COMP_WORDS="git-coord $after" COMP_CWORD=(commandline -t) _GIT_COORD_COMPLETE=fish_complete git-coord 2>/dev/null)
        string replace -r '^plain,' '' -- $line
    end
end

complete -c git -n '__fish_seen_subcommand_from coord' -f -a '(__git_coord_complete)'
complete -c git-coord -f -a '(__git_coord_complete)'
