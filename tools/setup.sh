#!/bin/sh
# Make or bring up to date the virtual environment that 'make install' promises.
#   tools/setup.sh PYTHON VENV      run from the root of the clone
# Everything comes from constraints.txt, by hash; nothing is installed that is not in it.
set -eu

python=$1
venv=$(pwd -P)/$2
bin=$venv/bin

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "headrace: $*" >&2; exit 1; }

# --- an interpreter that will do ---------------------------------------------------------------------------
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if ! is_new_enough "$python"; then
    found=$("$python" -V 2>&1) || found="not there"
    better=
    for other in python3.13 python3.12 python3.11; do
        if is_new_enough "$other"; then better=$other; break; fi
    done
    if [ -n "$better" ]; then
        die "needs Python 3.11 or newer, but '$python' is $found. Run: make PYTHON=$better install"
    fi
    die "needs Python 3.11 or newer, but '$python' is $found. Install one and run: make PYTHON=/path/to/python3 install"
fi
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
    die "'$python' cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install python3-venv"

# --- the environment ---------------------------------------------------------------------------------------
if [ -e "$venv/.installed" ] && [ "$(cat "$venv/.installed")" != "$(pwd -P)" ]; then
    rm -rf "$venv" # came here with a clone that was moved: its scripts point to the old place
fi
if ! is_new_enough "$bin/python" || ! "$bin/python" -m pip --version >/dev/null 2>&1; then
    say "Making $2 with $("$python" -V)"
    "$python" -m venv --clear "$venv"
fi

# --- uv, by pip --------------------------------------------------------------------------------------------
awk '/^[^ #]/ { on = /^uv==/ } on' constraints.txt >"$venv/uv.txt"
"$bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$venv/uv.txt" ||
    die "pip could not fetch uv. Check the network and pip's settings, and run the same again: it goes on from here"

# --- the rest, by uv, which does not read pip's settings by itself -----------------------------------------
settings=$("$bin/python" -m pip config list) # lines like global.index-url='...', those of the environment first
hand_over() { # hand_over PIP-SETTING UV_VARIABLE SEPARATOR
    eval "given=\${$2-}"
    value=$(say "$settings" | sed -n "s/^[a-z:]*\.$1='\(.*\)'\$/\1/p" | head -n 1 | sed "s/\\\\n/ /g; s/^ *//; s/  */$3/g")
    if [ -z "$given" ] && [ -n "$value" ]; then export "$2=$value"; fi
}
hand_over index-url UV_DEFAULT_INDEX ' '
hand_over extra-index-url UV_INDEX ' '
hand_over find-links UV_FIND_LINKS ','
hand_over trusted-host UV_INSECURE_HOST ' '
hand_over default-timeout UV_HTTP_TIMEOUT ' '
hand_over cert SSL_CERT_FILE ' '
no_index=$(say "$settings" | sed -n "s/^[a-z:]*\.no-index='\(.*\)'\$/\1/p" | head -n 1)
case $no_index in 1 | true | True | yes | on) no_index=--no-index ;; *) no_index= ;; esac # uv has no variable for it
# As pip does: the best of all indexes. The hashes decide what is acceptable, not where it came from.
export UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"

# One line that changes on a terminal, the summary alone elsewhere; what goes wrong is shown in full.
show() {
    status=0
    while IFS= read -r line; do
        case $line in
            "exit "*) status=${line#exit } ;;
            "Using Python"* | "Resolved "* | "Audited "* | "Checked "* | " + "* | " - "* | " ~ "*) ;;
            "Downloading "* | " Downloaded "* | "   Building "* | "      Built "*)
                if [ -t 1 ]; then printf '\r\033[K  %s' "${line# }"; fi ;;
            *) if [ -t 1 ]; then printf '\r\033[K'; fi; printf '  %s\n' "$line" ;;
        esac
    done
    return "$status"
}
uv_install() {
    {
        status=0
        "$bin/uv" pip install --python "$bin/python" $no_index "$@" 2>&1 || status=$?
        say "exit $status"
    } | show
}

say "Installing the pinned packages (about 230 MB to download the first time)"
# Compiled now: where PYTHONDONTWRITEBYTECODE is set, every process would compile mlflow anew, 3 s each time.
uv_install --require-hashes --compile-bytecode --requirement constraints.txt ||
    die "uv could not install the packages. Run the same again: what was fetched is not fetched again"
uv_install --quiet --no-deps --no-build-isolation --editable .
say "Ready: $2/bin/headrace"
