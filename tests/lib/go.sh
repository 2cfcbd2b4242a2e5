# Builds the Go program of tests/compat/go. Sourced after proc.sh, POSIX sh. Modules come through the Go proxy into Go's own cache, once.

# go_command: the Go to use; Debian's golang-go, or one in /usr/local/go.
go_command() {
    if command -v go > /dev/null; then
        echo go
    elif [ -x /usr/local/go/bin/go ]; then
        echo /usr/local/go/bin/go
    else
        echo "no go here (ops/setup --compat-go installs it)" >&2
        return 1
    fi
}

# go_build FOLDER PROGRAM
go_build() {
    go_program=$(go_command) || return 1
    mkdir -p "$(dirname "$2")"
    (cd "$1" && "$go_program" build -mod=readonly -o "$2" .)
}
