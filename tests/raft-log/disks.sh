# Disk images for the scripts of this folder. Sourced after lib/proc.sh, POSIX sh. The programs that are tried find a directory
# $DISKS of their own below $LOGS, kept when a test failed; whatever happens, nothing stays mounted.

# disks_begin NAME: work_begin, and a script that cannot mount ends here and says so.
disks_begin() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "FAIL $1: needs root: it mounts disk images through loop devices"
        echo "$1: 0 passed, 1 failed"
        exit 1
    fi
    work_begin "$1"
    DISKS=$(cd "$LOGS" && pwd)/disks
    mkdir -p "$DISKS"
    trap 'disks_end $?' EXIT
}

disks_end() {
    proc_stop_all
    awk -v dir="$DISKS/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r | while read -r disks_mounted; do
        umount "$disks_mounted" || umount -l "$disks_mounted" || true
    done
    rmdir "$DISKS" 2> /dev/null || true
    work_end "$1"
}

# disk_make NAME MIB: an ext4 file system of that size at $DISKS/NAME, mounted; its image is $DISKS/NAME.img.
disk_make() {
    truncate -s "${2}M" "$DISKS/$1.img" && mkfs.ext4 -q -F -m 0 "$DISKS/$1.img" && mkdir -p "$DISKS/$1" &&
        mount -t ext4 -o loop,noinit_itable "$DISKS/$1.img" "$DISKS/$1"
}

# disk_remove NAME: unmounts and deletes it.
disk_remove() {
    umount "$DISKS/$1" && rm -f "$DISKS/$1.img" && rmdir "$DISKS/$1"
}

# disk_fill NAME LEFT_KIB: one file takes all but so much of it.
disk_fill() {
    fill_kib=$(stat -f -c '%a %S' "$DISKS/$1" | awk -v left="$2" '{ printf "%d", $1 * $2 / 1024 - left }')
    [ "$fill_kib" -le 0 ] || fallocate -l "${fill_kib}K" "$DISKS/$1/balloon"
}

disk_free() { rm -f "$DISKS/$1/balloon"; }
