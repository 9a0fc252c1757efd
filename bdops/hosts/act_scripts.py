"""The POSIX sh that starts, reads and forgets detached acts: fixed texts; folder and argv are their parameters.

What an act's folder holds:

| name | what |
| --- | --- |
| started/ | made by the one runner that may run the argv: mkdir is atomic, so a second one sees that it is late |
| pid | a symbolic link that leads nowhere: `PID:START_TICKS:BOOT_ID` of the runner, which leads the act's session |
| output.N | what the act said, from byte N on; the last two or three pieces of 64 KiB |
| exit, status | symbolic links, likewise: the exit status, before and after the output is complete |

A symbolic link is made whole or not at all, and needs no free block on a full disk.
"""

from __future__ import annotations

PIECE_BYTES = 65536

# Parameters: the act's folder, the argv. Standard output is the starter's until the act has begun.
RUNNER = f"""\
act=$1; shift
mkdir "$act/started" 2>/dev/null || {{ [ -d "$act/started" ] && echo adopted; exit 0; }}
stat=$(cat "/proc/$$/stat" 2>/dev/null) || stat=
ticks=$(set -- ${{stat##*) }}; echo "${{20-}}")
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) || boot=
ln -s "$$:$ticks:$boot" "$act/pid" || {{ rmdir "$act/started"; echo "failed: cannot write in $act"; exit 0; }}
echo started
exec >/dev/null 2>&1
publish() {{ [ ! -h "$act/exit" ] || mv -f "$act/exit" "$act/status"; }}
keep() {{
  start=0 previous= piece=$act/output.0
  while said=$(LC_ALL=C dd bs=32768 count=1 2>&1 >>"$piece"); do
    case $said in 0+0*) return ;; esac
    size=$(wc -c <"$piece") || return
    if [ "$size" -ge {PIECE_BYTES} ]; then
      [ -z "$previous" ] || rm -f "$previous"
      previous=$piece start=$((start + size)); piece=$act/output.$start
    fi
  done
}}
{{
  {{
    # exec, or a word of ours (`keep`) or of the shell's (`exit`) would be taken for the program of that name.
    (exec "$@") 2>&1
    ln -s "$?" "$act/exit"
    exec >/dev/null
    # A child of the act may keep the output open for ever; all that the act itself said is read by then.
    sleep 1; publish
  }} | {{ keep; publish; exec cat >/dev/null; }}
}} </dev/null
"""

# Parameters: RUNNER, the work folder, the act's id, the argv.
START = """\
runner=$1 work=$2 act=$2/acts/$3; shift 3
command -v setsid >/dev/null || { echo "failed: there is no setsid (util-linux) on the host"; exit 0; }
make() (
  umask 077
  [ -d "$work" ] || mkdir -p "$work" || exit
  for folder in "$work" "$work/acts" "$act"; do
    [ -d "$folder" ] || mkdir "$folder" || [ -d "$folder" ] || exit
    { [ -O "$folder" ] && [ ! -h "$folder" ]; } || { echo "foreign $folder"; exit 0; }
  done
)
tries=0
# Whoever forgets the last act at this moment takes the folders away.
until said=$(make 2>&1); do
  tries=$((tries + 1))
  [ "$tries" -lt 5 ] || { echo "failed: ${said:-cannot make $act}"; exit 0; }
done
case $said in foreign*) echo "$said"; exit 0 ;; esac
if setsid -f true 2>/dev/null; then
  said=$(setsid -f sh -c "$runner" bdops-act "$act" "$@" </dev/null 2>&1)
else
  # busybox's setsid. What a shell puts into the background ignores SIGINT, and so does all that it starts.
  said=$(setsid sh -c "$runner" bdops-act "$act" "$@" </dev/null 2>&1 &)
fi
echo "${said:-failed: the runner said nothing}"
"""

# Parameters: the work folder, the act's id, the first byte of the output that is wanted.
READ = """\
work=$1 act=$1/acts/$2 from=$3
alive() { # PID TICKS BOOT: whether that process lives
  [ "$3" = "$boot_now" ] || return 1
  ticks=$2 stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  set -- ${stat##*) }
  case $1 in Z | X | x) return 1 ;; esac
  [ "${20-}" = "$ticks" ]
}
left_behind() { # PID TICKS BOOT: whether anything lives in the session that PID led
  [ "$3" = "$boot_now" ] || return 1
  leader=$1 ticks=$2
  if stat=$(cat "/proc/$1/stat" 2>/dev/null); then
    # Another process under the same number: it would not be free while the session lived.
    set -- ${stat##*) }
    [ "${20-}" = "$ticks" ] || return 1
  fi
  cat /proc/[0-9]*/stat 2>/dev/null | {
    while read -r stat; do
      set -- ${stat##*) }
      case ${1-}${4-} in [!ZXx]"$leader") exit 0 ;; esac
    done
    exit 1
  }
}
for folder in "$work" "$work/acts" "$act"; do
  [ -e "$folder" ] || [ -h "$folder" ] || { echo "@act absent 0"; exit 0; }
  { [ -O "$folder" ] && [ ! -h "$folder" ] && [ -x "$folder" ]; } || { echo "foreign $folder"; exit 0; }
done
boot_now=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
id=$(readlink "$act/pid"); pid=${id%%:*} boot=${id##*:}; ticks=${id#*:}; ticks=${ticks%:*}
state=lost started=0
[ ! -d "$act/started" ] || started=1
# Alive first: one that ends between the two questions has left its status.
if [ "$pid" ] && { alive "$pid" "$ticks" "$boot" || left_behind "$pid" "$ticks" "$boot"; }; then state=running; fi
status=$(readlink "$act/status") || { ! alive "$pid" "$ticks" "$boot" && status=$(readlink "$act/exit"); } || status=
[ -z "$status" ] || state=ended
echo "@act $state $started $status"
for piece in "$act"/output.*; do
  first=${piece##*.}
  size=$(wc -c <"$piece" 2>/dev/null) || continue
  [ "$((first + size))" -gt "$from" ] || continue
  skipped=0
  [ "$from" -le "$first" ] || skipped=$((from - first))
  echo "@output $((first + skipped)) $((size - skipped))"
  tail -c "+$((skipped + 1))" "$piece" | head -c "$((size - skipped))"
  echo
done
"""

# Parameters: the work folder, the act's id, the signal. All that is in the act's session gets it.
SIGNAL = """\
work=$1 act=$1/acts/$2
[ ! -h "$act" ] || { echo "foreign $act"; exit 0; }
boot_now=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
id=$(readlink "$act/pid") || exit 0
pid=${id%%:*} boot=${id##*:}; ticks=${id#*:}; ticks=${ticks%:*}
[ "$boot" = "$boot_now" ] || exit 0
if stat=$(cat "/proc/$pid/stat" 2>/dev/null); then
  # Another process under the same number: it would not be free while the session lived.
  set -- "$3" ${stat##*) }
  [ "${21-}" = "$ticks" ] || exit 0
else
  set -- "$3"
fi
kill -s "$1" -- "-$pid" 2>/dev/null
exit 0
"""

# Parameters: the work folder, the act's id. Not while it runs: the caller has looked.
FORGET = """\
work=$1 act=$1/acts/$2
[ ! -h "$act" ] || { echo "foreign $act"; exit 0; }
# What still writes there gets nowhere to write to.
rm -rf "$act" 2>/dev/null || rm -rf "$act" || exit
rmdir "$work/acts" 2>/dev/null && rmdir "$work" 2>/dev/null
exit 0
"""
