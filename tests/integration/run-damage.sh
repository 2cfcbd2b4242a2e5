#!/bin/sh
# Logs that were cut, garbled or lost on disk: what may be repaired is repaired, everything else stops the node and stays as it
# is.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

TOPIC=Damage
FIRST=raftlog/log/00000000000000000000

# garble FILE POS BYTES: random bytes at that position.
garble() { head -c "$3" /dev/urandom | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null; }

# flip FILE POS: the byte there changes for certain.
flip() {
    flip_old=$(od -An -tu1 -j"$2" -N1 "$1")
    printf "\\$(printf '%03o' $((flip_old ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null
}

start_one() {
    single_write one "$NAMESRV" && node_start one 0 && ms_until 5 "leads" node_leads one 0 &&
        node_ask one 0 topic $TOPIC 1 && node_ask one 0 send $TOPIC 0 0 200
}

# --- a group of one ---

# zero FILE POS BYTES: as if they had never been written.
zero() { dd if=/dev/zero of="$1" bs=1 seek="$2" count="$3" conv=notrunc 2> /dev/null; }

# No write of ours leaves that: it may as well be what was acknowledged, and there is no other member to ask.
garbage_behind_the_end() {
    end=$(node_value one 0 end_pos)
    node_stop one 0 && cp "$WORK/one-0/$FIRST" "$WORK/whole" && garble "$WORK/one-0/$FIRST" "$end" 5000 &&
        cp "$WORK/one-0/$FIRST" "$WORK/garbled" &&
        refuses_to_start "$WORK/one-0.conf" "at position $end is bad" "may have been acknowledged" &&
        cmp "$WORK/garbled" "$WORK/one-0/$FIRST" && cp "$WORK/whole" "$WORK/one-0/$FIRST" && node_start one 0 &&
        ms_until 5 "leads" node_leads one 0 && holds one 0 $TOPIC 0 200 &&
        node_ask one 0 send $TOPIC 0 200 50 && holds one 0 $TOPIC 0 250
}

# A write of which the second half never came to the disk, by whole sectors; nobody was answered on it, and so no mark says that
# it was committed.
half_an_entry_at_the_end() {
    end=$(node_value one 0 end_pos)
    PROBE_BODY_BYTES=3000 node_ask one 0 send $TOPIC 0 1000 1 && new_end=$(node_value one 0 end_pos) && node_stop one 0 &&
        rm "$WORK/one-0/raftlog/commit-mark" &&
        zero "$WORK/one-0/$FIRST" $(((end + 607) / 512 * 512)) 4096 && [ "$new_end" -gt $((end + 1024)) ] && node_start one 0 &&
        ms_until 5 "leads" node_leads one 0 && grep "at position $end, " "$LOGS/one-0.log" &&
        node_ask one 0 send $TOPIC 0 250 1 && holds one 0 $TOPIC 0 251
}

byte_flipped_in_the_middle() {
    node_stop one 0 && flip "$WORK/one-0/$FIRST" 6000 && cp "$WORK/one-0/$FIRST" "$WORK/flipped" &&
        refuses_to_start "$WORK/one-0.conf" "position" "was committed" && cmp "$WORK/flipped" "$WORK/one-0/$FIRST"
}

starts_when_put_right() {
    flip "$WORK/one-0/$FIRST" 6000 && node_start one 0 && ms_until 5 "leads" node_leads one 0 && holds one 0 $TOPIC 0 251
}

header_flipped_in_the_middle() {
    node_stop one 0 && cp "$WORK/one-0/$FIRST" "$WORK/whole" || return 1
    # Entry 1 is the founding: its header lies at 0.
    flip "$WORK/one-0/$FIRST" 20 && cp "$WORK/one-0/$FIRST" "$WORK/flipped" &&
        refuses_to_start "$WORK/one-0.conf" "entry 1 at position 0 is bad" &&
        cmp "$WORK/flipped" "$WORK/one-0/$FIRST" && cp "$WORK/whole" "$WORK/one-0/$FIRST" && node_start one 0
}

segment_missing() {
    PROBE_BODY_BYTES=65536 node_ask one 0 send $TOPIC 0 251 600 && node_stop one 0 &&
        mv "$WORK/one-0/raftlog/log/00000000000016777216" "$WORK/aside" &&
        refuses_to_start "$WORK/one-0.conf" 00000000000016777216 missing &&
        mv "$WORK/aside" "$WORK/one-0/raftlog/log/00000000000016777216" && node_start one 0 &&
        ms_until 5 "leads" node_leads one 0 && holds one 0 $TOPIC 0 851
}

segment_short() {
    node_stop one 0 && cp "$WORK/one-0/raftlog/log/00000000000016777216" "$WORK/aside" &&
        truncate -s 10000000 "$WORK/one-0/raftlog/log/00000000000016777216" &&
        refuses_to_start "$WORK/one-0.conf" 00000000000016777216 16777216 &&
        mv "$WORK/aside" "$WORK/one-0/raftlog/log/00000000000016777216" && node_start one 0
}

# The consume queues are derived: whatever happened to them, they are made anew.
consume_queues_gone() {
    node_stop one 0 && rm -r "$WORK/one-0/consumequeue" && node_start one 0 && ms_until 5 "leads" node_leads one 0 &&
        holds one 0 $TOPIC 0 851 && node_stop one 0
}

# --- a group of three ---

start_three() {
    triple_write three "$NAMESRV" || return 1
    for i in $GROUP_NODES; do
        node_start three "$i" || return 1
    done
    ms_until 10 "one leads" leader_of three && node_ask three "$(leader_of three)" topic $TOPIC 1 &&
        node_ask three "$(leader_of three)" send $TOPIC 0 0 300 && wait_for 5 "level nodes" is_level three
}

# A follower lost power while it wrote: of what is behind its end there are the sectors up to the one with the header.
follower_with_a_torn_entry() {
    leader=$(leader_of three)
    follower=$(((leader + 1) % 3))
    end=$(node_value three $follower end_pos)
    proc_kill three-$follower KILL && PROBE_BODY_BYTES=3000 node_ask three "$leader" send $TOPIC 0 300 20 &&
        dd if="$WORK/three-$leader/$FIRST" of="$WORK/three-$follower/$FIRST" bs=1 skip="$end" seek="$end" count=$(((end + 607) / 512 * 512 - end)) \
            conv=notrunc 2> /dev/null && node_start three $follower &&
        grep "torn tail of .* at position $end, " "$LOGS/three-$follower.log" && ms_until 10 "level" is_level three &&
        holds three $follower $TOPIC 0 320 && logs_equal three
}

# It keeps its word on what it lost, and has it again from the others.
follower_with_a_flipped_byte() {
    leader=$(leader_of three)
    follower=$(((leader + 1) % 3))
    node_stop three $follower && flip "$WORK/three-$follower/$FIRST" 6000 && node_start three $follower &&
        grep "was committed: the log ends before it" "$LOGS/three-$follower.log" &&
        ms_until 10 "it has all again" grep -q "has again all that it may have acknowledged" "$LOGS/three-$follower.log" &&
        wait_for 10 "level nodes" is_level three && holds three $follower $TOPIC 0 320 && logs_equal three &&
        ! ls "$WORK/three-$follower/raftlog/" | grep aside
}

# All three lost power while they wrote: each has rubbish behind its end, so each may have acknowledged more than it holds.
rubbish_behind_every_end() {
    wait_for 10 "level nodes" is_level three || return 1
    end=$(node_value three 0 end_pos)
    # All at once and without a word: who stops in order hands over, and the next leader's barrier moves the end.
    for i in $GROUP_NODES; do
        proc_kill three-"$i" KILL
    done
    for i in $GROUP_NODES; do
        garble "$WORK/three-$i/$FIRST" "$end" $((300 * (i + 1))) || return 1
    done
    node_start three 0 && node_start three 1 && sleep 1 && ! leader_of three && node_start three 2 &&
        ms_until 10 "one leads" leader_of three && wait_for 10 "level nodes" is_level three && holds three 0 $TOPIC 0 320 &&
        logs_equal three
}

both_copies_of_meta_bad() {
    follower=$((($(leader_of three) + 1) % 3))
    node_stop three $follower && cp "$WORK/three-$follower/raftlog/meta-0" "$WORK/meta" &&
        flip "$WORK/three-$follower/raftlog/meta-0" 30 && flip "$WORK/three-$follower/raftlog/meta-1" 30 &&
        refuses_to_start "$WORK/three-$follower.conf" "meta-0 and meta-1 are both bad" "as a new one" &&
        cp "$WORK/meta" "$WORK/three-$follower/raftlog/meta-0" && node_start three $follower &&
        wait_for 10 "level nodes" is_level three
}

# An empty directory has forgotten what it had voted for and acknowledged: it must not take part, and the others go on.
follower_wiped() {
    leader=$(leader_of three)
    wiped=$(((leader + 1) % 3))
    echo $wiped > "$WORK/wiped"
    node_stop three $wiped && mv "$WORK/three-$wiped" "$WORK/saved" && node_start three $wiped &&
        ms_until 15 "it says so" grep -q "neither votes nor stores anything" "$LOGS/three-$wiped.log" &&
        grep "neither votes" "$LOGS/three-$wiped.log" && [ "$(node_value three $wiped last)" -eq 0 ] &&
        node_ask three "$leader" send $TOPIC 0 320 80
}

# With one more node gone, two of three are up but only one of them may vote: nothing is acknowledged.
wiped_node_does_not_vote() {
    wiped=$(cat "$WORK/wiped")
    leader=$(leader_of three)
    proc_kill three-"$leader" KILL || return 1
    sleep 2
    ! leader_of three && node_start three "$leader" && ms_until 10 "one leads" leader_of three &&
        [ "$(node_value three "$wiped" last)" -eq 0 ]
}

wiped_node_gets_its_directory_back() {
    wiped=$(cat "$WORK/wiped")
    node_stop three "$wiped" && rm -r "$WORK/three-$wiped" && mv "$WORK/saved" "$WORK/three-$wiped" &&
        node_start three "$wiped" && ms_until 10 "level" is_level three && holds three "$wiped" $TOPIC 0 400 &&
        logs_equal three
}

# Two nodes whose directories were exchanged: both refuse.
directories_exchanged() {
    for i in $GROUP_NODES; do
        node_stop three "$i" || return 1
    done
    mv "$WORK/three-0" "$WORK/aside-0" && mv "$WORK/three-1" "$WORK/three-0" && mv "$WORK/aside-0" "$WORK/three-1" &&
        refuses_to_start "$WORK/three-0.conf" "belongs to member 2" "this node is member 1" &&
        refuses_to_start "$WORK/three-1.conf" "belongs to member 1" "this node is member 2"
}

# --- disks that lose something while the nodes run ---

start_scrubbed() {
    triple_write scrubbed "$NAMESRV" raftmqScrubBytesPerSecond=104857600 || return 1
    for i in $GROUP_NODES; do
        node_start scrubbed "$i" || return 1
    done
    ms_until 10 "one leads" leader_of scrubbed && leader=$(leader_of scrubbed) && node_ask scrubbed "$leader" topic $TOPIC 1 &&
        PROBE_BODY_BYTES=65536 node_ask scrubbed "$leader" send $TOPIC 0 0 600 && wait_for 10 "level nodes" is_level scrubbed
}

# scrubbed_all N: the three nodes together have repaired N entries, and nothing is open.
scrubbed_all() {
    group_status "$NAMESRV" | sed -n 's/^scrubbed .*scrubBad=\([0-9]*\) scrubRepaired=\([0-9]*\) scrubOpen=\([0-9]*\).*/\1 \2 \3/p' |
        awk -v want="$1" '{ bad += $1; repaired += $2; open += $3 } END { exit !(bad == want && repaired == want && open == 0) }'
}

# The page cache has what the test writes, and the disk soon: to the scrub it is what the disk says.
running_nodes_repair_what_flips() {
    leader=$(leader_of scrubbed)
    follower=$(((leader + 1) % 3))
    flip "$WORK/scrubbed-$follower/$FIRST" 300000 && flip "$WORK/scrubbed-$follower/$FIRST" 3000000 &&
        flip "$WORK/scrubbed-$follower/raftlog/log/00000000000016777216" 5000000 &&
        flip "$WORK/scrubbed-$leader/$FIRST" 9000000 && flip "$WORK/scrubbed-$follower/$FIRST" 16777215 &&
        ms_until 20 "all is repaired" scrubbed_all 4 && grep "repaired entries" "$LOGS/scrubbed-$follower.log" &&
        grep "repaired entries" "$LOGS/scrubbed-$leader.log" && [ "$(leader_of scrubbed)" = "$leader" ] &&
        ms_until 10 "equal files" group_logs_equal scrubbed && holds scrubbed "$follower" $TOPIC 0 600
}

work_begin damage
NAMESRV=127.0.0.1:$(free_ports 1)
check "a name server starts" namesrv_start ns "${NAMESRV#*:}"
check "a group of one with 200 messages" start_one
check "garbage behind the last entry stops a node without others" garbage_behind_the_end
check "an entry of which only the first half was written is cut" half_an_entry_at_the_end
check "a flipped byte in the middle stops the node and is not cut" byte_flipped_in_the_middle
check "the node starts when the byte is put right" starts_when_put_right
check "a flipped byte in a header in the middle stops the node" header_flipped_in_the_middle
check "a missing segment is named" segment_missing
check "a segment that is too short is named" segment_short
check "consume queues are made anew" consume_queues_gone
check "a group of three with 300 messages" start_three
check "a follower's torn entry is cut and fetched again" follower_with_a_torn_entry
check "a follower's flipped byte costs a claim and is brought again" follower_with_a_flipped_byte
check "three nodes that all claim what nobody holds go on when all are there" rubbish_behind_every_end
check "a node that forgot its vote is refused" both_copies_of_meta_bad
check "a wiped follower stays outside and says so; the group goes on" follower_wiped
check "a wiped follower does not vote" wiped_node_does_not_vote
check "with its directory back it takes part again" wiped_node_gets_its_directory_back
check "exchanged directories are refused on both sides" directories_exchanged
check "a group of three with full segments" start_scrubbed
check "what flips on running nodes is repaired by scrubbing" running_nodes_repair_what_flips
case_end damage
