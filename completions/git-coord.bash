# bash: `git coord <TAB>` (git's own completion calls _git_coord) and `git-coord <TAB>`.

__git_coord_complete() { # the words after the program's name, the one being typed last
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            plain,*) COMPREPLY+=("${line#plain,}") ;;
            *) compopt -o default 2>/dev/null ;;
        esac
    done < <(env COMP_WORDS="git-coord $*" COMP_CWORD=$# _GIT_COORD_COMPLETE=bash_complete git-coord 2>/dev/null)
}

_git_coord() {
    local at=1
    while [ "${words[at]}" != coord ] && [ $at -lt "$cword" ]; do at=$((at + 1)); done
    __git_coord_complete "${words[@]:at+1:cword-at}"
}

_git_coord_alone() {
    __git_coord_complete "${COMP_WORDS[@]:1:COMP_CWORD}"
}

complete -F _git_coord_alone git-coord gitcoord
