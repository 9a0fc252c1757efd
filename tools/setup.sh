#!/usr/bin/env bash
# All that bdops, its tests and its demo need: a virtual environment in .venv, a JDK, Maven and sshd.
# On Debian and Ubuntu, as root or with sudo, what is missing is installed by apt; elsewhere it is named.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

is_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    if [ -n "$name" ] && command -v "$name" >/dev/null && is_python "$name"; then
      command -v "$name"
      return
    fi
  done
  return 1
}

java_program() { if [ -n "${JAVA_HOME:-}" ]; then echo "$JAVA_HOME/bin/$1"; else echo "$1"; fi; }

has_jdk() {
  local version
  version=$("$(java_program javac)" -version 2>&1 | sed -nE 's/^javac (1\.)?([0-9]+).*/\2/p') || return 1
  [ "${version:-0}" -ge 17 ] && "$(java_program java)" -version >/dev/null 2>&1
}

has_sshd() { PATH="$PATH:/usr/sbin:/usr/local/sbin:/sbin" command -v sshd >/dev/null && command -v ssh-keygen >/dev/null; }

# Needs `venv` with pip in it, which Debian packages apart from python3.
has_venv() { [ -x .venv/bin/python ] || "$1" -c 'import venv, ensurepip' 2>/dev/null; }

wanted() {
  if ! python=$(find_python); then
    echo "python3 python3-venv"
  elif ! has_venv "$python"; then
    # A python beside the system's brings its own ensurepip: this one is Debian's.
    echo "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
  fi
  has_jdk || echo "jdk"
  command -v mvn >/dev/null || echo "maven"
  if ! has_sshd; then echo "openssh-server openssh-client"; fi
  # The tests boot a systemd in a root of its own, and look at sockets.
  if [ "$(uname)" = Linux ]; then
    [ -x /lib/systemd/systemd ] || echo "systemd"
    command -v ss >/dev/null || echo "iproute2"
  fi
  # What a few tests drive, and leave out where it is not there; a continuous integration leaves nothing out.
  if [ -n "${CI:-}" ]; then
    for program in zsh fish groff; do command -v "$program" >/dev/null || echo "$program"; done
    command -v crontab >/dev/null || echo "cron"
  fi
}

newest_jdk_package() {
  local version
  for version in 17 21 25; do
    if apt-cache show "openjdk-$version-jdk-headless" >/dev/null 2>&1; then
      echo "openjdk-$version-jdk-headless"
      return
    fi
  done
  echo default-jdk-headless
}

install_with_apt() {
  local sudo="" packages
  [ "$(id -u)" -eq 0 ] || sudo="sudo"
  # An image without package lists knows no package at all.
  say "apt-get update"
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || say "apt-get update failed; trying with the lists there are"
  packages=$(tr ' ' '\n' <<<"$1" | sed "s/^jdk\$/$(newest_jdk_package)/" | tr '\n' ' ')
  say "apt-get install $packages"
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2
  case "$packages" in
    *openssh-server*) say "the lab runs its own sshd on loopback; the distribution's is not needed: systemctl disable --now ssh" ;;
  esac
}

can_apt() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

explain() {
  local word
  say "missing on this machine:"
  for word in $1; do
    case "$word" in
      python*) say "  Python >= 3.11 with venv     Debian, Ubuntu: python3 python3-venv   Fedora: python3   macOS: brew install python" ;;
      jdk) say "  a JDK >= 17 (java, javac)    Debian, Ubuntu: openjdk-17-jdk-headless   Fedora: java-17-openjdk-devel   or set JAVA_HOME" ;;
      maven) say "  Maven (mvn)                  Debian, Ubuntu, Fedora: maven" ;;
      systemd) say "  systemd (for the tests)      Debian, Ubuntu, Fedora: systemd" ;;
      iproute2) say "  ss (for the tests)           Debian, Ubuntu: iproute2   Fedora: iproute" ;;
      zsh | fish | groff | cron) say "  $word (for the tests)         Debian, Ubuntu: $word" ;;
      openssh-server) say "  sshd                         Debian, Ubuntu, Fedora: openssh-server" ;;
    esac
  done
  say "install these and run this again"
}

missing=$(wanted | xargs)
if [ -n "$missing" ]; then
  if ! can_apt; then
    explain "$missing"
    exit 1
  fi
  install_with_apt "$missing"
  missing=$(wanted | xargs)
  if [ -n "$missing" ]; then
    explain "$missing"
    exit 1
  fi
fi

python=$(find_python)
if [ -x .venv/bin/python ] && ! is_python .venv/bin/python; then
  say ".venv has a Python that is too old: made anew"
  rm -rf .venv
fi
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi
# Installed anew only when what is to be installed has changed.
stamp=.venv/.installed
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
  say "installing bdops and its development tools into .venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' >&2
  touch "$stamp"
fi
