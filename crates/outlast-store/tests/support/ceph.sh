#!/bin/bash
# Runs Ceph with its S3 gateway in one folder until standard input ends: a monitor, a store of objects
# in memory and a gateway, all on ports of this machine alone. Says "ready" once it serves.
# Usage: ceph.sh FOLDER MONITOR_PORT GATEWAY_PORT
set -eu
folder=$1
monitor=v1:127.0.0.1:$2
export CEPH_CONF=$folder/ceph.conf
started=()

# What the programs said, where not all of them came up.
tell() {
  tail -qn 15 "$folder"/*.out "$folder"/*.log 2>/dev/null | cut -c1-300 >&2
}

finish() {
  for process in "${started[@]}"; do kill -9 "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' TERM INT HUP

# Tries a command again and again: for minutes, for the machine may have much else to do; but not once
# something that was started has ended, as where somebody else has taken its port.
until_works() {
  for _ in $(seq 3000); do
    for process in "${started[@]}"; do
      kill -0 "$process" 2>/dev/null || { echo "ended early before: $*" >&2; tell; return 1; }
    done
    if timeout 20 "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  echo "gave up: $*" >&2
  tell
  return 1
}

cluster=$(cat /proc/sys/kernel/random/uuid)
mkdir -p "$folder"/monitor "$folder"/osd "$folder"/run
cat > "$CEPH_CONF" <<END
[global]
fsid = $cluster
mon host = $monitor
public addr = 127.0.0.1
keyring = $folder/keyring
log file = $folder/\$name.log
run dir = $folder/run
admin socket = $folder/run/\$name.sock
mon data = $folder/monitor
# However full the disk is: by itself a monitor ends where less than a twentieth is free.
mon data avail warn = -1
mon data avail crit = -1
osd data = $folder/osd
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
ms bind ipv6 = false
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
osd objectstore = memstore
osd memory target = 939524096
memstore device bytes = 2147483648
[client.gateway]
rgw frontends = beast endpoint=127.0.0.1:$3
rgw thread pool size = 16
rgw enable usage log = false
END

ceph-authtool --create-keyring "$folder/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
monmaptool --create --fsid "$cluster" --addv a "[$monitor]" "$folder/monmap" >/dev/null
ceph-mon -i a --mkfs --monmap "$folder/monmap" --keyring "$folder/keyring" >/dev/null
ceph-mon -i a -f >"$folder/monitor.out" 2>&1 </dev/null &
started+=($!)
until_works ceph --connect-timeout 1 osd new "$cluster" 0
ceph-osd -i 0 --mkfs --osd-uuid "$cluster" >"$folder/osd.out" 2>&1
ceph osd crush add osd.0 1.0 root=default >/dev/null 2>&1
ceph-osd -i 0 -f >>"$folder/osd.out" 2>&1 </dev/null &
started+=($!)
until_works bash -c "ceph --connect-timeout 5 osd stat | grep -q '1 up'"
radosgw -n client.gateway -f >"$folder/gateway.out" 2>&1 </dev/null &
started+=($!)
until_works bash -c ": < /dev/tcp/127.0.0.1/$3"
# What answers is ours.
sleep 0.5
until_works true
# The owner may give other users their policies.
for user in owner stranger; do
  radosgw-admin -n client.gateway user create --uid=$user --display-name=$user \
    --access-key=$user-key --secret-key=$user-secret >/dev/null 2>>"$folder/users.out"
done
radosgw-admin -n client.gateway caps add --uid=owner --caps='user-policy=*' >/dev/null 2>>"$folder/users.out"
echo ready
cat >/dev/null
