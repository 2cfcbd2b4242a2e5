package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.checkEqual;

import java.util.List;
import java.util.Set;
import java.util.TreeSet;

import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Looking for messages: by id, by key in a range of time, by their place in a queue. */
final class Query {
    private Query() {
    }

    static void list(Cases cases) {
        cases.line("index and query");
        cases.add("by offset id", Query::byOffsetId);
        cases.add("by key in a time range", Query::byKey).needs("index").selected();
        cases.add("what one key has in two ranges of time", Query::byTime).needs("index");
        cases.add("by unique id", Query::byUniqueId).needs("index");
        cases.add("a consume queue's items", Query::consumeQueue).needs("index");
        cases.add("traces are messages of the trace topic", Query::trace);
    }

    private static void byOffsetId(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("view");
        String topic = run.newTopic(producer, "view", 1);
        run.send(producer, message(topic, "TagA", "k0", "before it"));
        SendResult result = run.send(producer, message(topic, "TagB", "k1", "wanted"));
        run.middle();
        /* The id names the node that led then; it answers again once it is back. */
        MessageExt found = run.ask("the view", () -> run.reader().viewMessage(topic, result.getOffsetMsgId()));
        checkEqual("wanted", body(found), "the body");
        checkEqual("TagB", found.getTags(), "the tag");
        checkEqual(result.getQueueOffset(), found.getQueueOffset(), "the offset");
    }

    private static Set<String> find(Run run, String topic, String key, int most, long from, long to) {
        Set<String> found = new TreeSet<>();
        try {
            QueryResult result = run.reader().queryMessage(topic, key, most, from, to);
            result.getMessageList().forEach(message -> found.add(body(message)));
        } catch (Exception e) {
            /* Clients report "nothing found" so, and a leader that is away; whoever asked looks at the set. */
        }
        return found;
    }

    private static void byKey(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("key");
        String topic = run.newTopic(producer, "key", Run.QUEUES);
        String other = run.newTopic(producer, "key_other", 1);
        long begin = System.currentTimeMillis() - 2000; /* the index knows seconds */
        Set<String> wanted = new TreeSet<>();
        run.send(producer, message(other, "TagA", "wanted", "of another topic"));
        run.through(60, i -> {
            boolean match = i % 10 == 0;
            run.send(producer, message(topic, "TagA", match ? "wanted k" + i : "k" + i, "keyed-" + i));
            if (match) {
                wanted.add("keyed-" + i);
            }
        });
        long end = System.currentTimeMillis() + 2000;
        await(Run.PATIENCE_S, () -> "the key finds " + wanted + ", not " + find(run, topic, "wanted", 64, begin, end),
                () -> find(run, topic, "wanted", 64, begin, end).equals(wanted));
        checkEqual(Set.of("keyed-7"), find(run, topic, "k7", 64, begin, end), "what another key finds");
        checkEqual(Set.of(), find(run, topic, "wanted", 64, begin - 7_200_000, begin - 3_600_000), "what an hour ago finds");
        checkEqual(Set.of(), find(run, topic, "no such key", 64, begin, end), "what no key finds");
        checkEqual(2, find(run, topic, "wanted", 2, begin, end).size(), "the number of two at most");
    }

    private static void byTime(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("ranges");
        String topic = run.newTopic(producer, "ranges", 1);
        run.send(producer, message(topic, "TagA", "same", "early"));
        Thread.sleep(1100); /* the original's range has whole seconds */
        long between = System.currentTimeMillis();
        Thread.sleep(1100);
        run.middle();
        run.send(producer, message(topic, "TagA", "same", "late"));
        await(Run.PATIENCE_S, () -> "both were found", () -> find(run, topic, "same", 64, 0, Long.MAX_VALUE).size() == 2);
        checkEqual(Set.of("early"), find(run, topic, "same", 64, 0, between), "what was stored before");
        checkEqual(Set.of("late"), find(run, topic, "same", 64, between, Long.MAX_VALUE), "what was stored later");
    }

    private static void byUniqueId(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("unique");
        String topic = run.newTopic(producer, "unique", Run.QUEUES);
        SendResult before = run.send(producer, message(topic, "TagA", "k", "before"));
        run.middle();
        SendResult after = run.send(producer, message(topic, "TagA", "k", "after"));
        for (SendResult result : List.of(before, after)) {
            await(Run.PATIENCE_S, () -> result.getMsgId() + " was found", () -> {
                try {
                    MessageExt found = run.reader().viewMessage(topic, result.getMsgId());
                    return found != null && found.getQueueOffset() == result.getQueueOffset();
                } catch (Exception e) {
                    return false;
                }
            });
        }
    }

    private static void consumeQueue(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("items");
        String topic = run.newTopic(producer, "items", 1);
        Watch watch = new Watch();
        run.sendNumbered(producer, topic, "item-", 10, watch);
        run.middle();
        DefaultMQAdminExt admin = run.clients.admin();
        MessageQueue queue = run.ask("the queues", () -> Clients.queues(run.reader(), topic)).iterator().next();
        long end = run.ask("the end", () -> run.reader().maxOffset(queue));
        /* Any member answers from what it has applied. */
        var items = run.ask("the items", () -> {
            var page = admin.queryConsumeQueue(Clients.leader(admin, topic), topic, 0, 2, 5, "");
            if (page.getMaxQueueIndex() != end) {
                throw new IllegalStateException("the end of the queue is " + page.getMaxQueueIndex() + ", not " + end);
            }
            return page;
        });
        checkEqual(5, items.getQueueData().size(), "the number of items");
        checkEqual(0L, items.getMinQueueIndex(), "the beginning of the queue");
        checkEqual((long) "TagA".hashCode(), items.getQueueData().get(0).getTagsCode(), "the tag's code");
    }

    private static void trace(Run run) throws Exception {
        DefaultMQProducer producer = run.clients.tracingProducer(run.group("trace"));
        String topic = run.newTopic(producer, "trace", 1);
        run.send(producer, message(topic, "TagA", "k", "before"));
        run.middle();
        /* The client sends a trace once and forgets it: what it traces while it looks for the leader may be lost. */
        Set<String> traced = new TreeSet<>();
        await(Run.PATIENCE_S, () -> "a trace of one of " + traced.size() + " was there", () -> {
            try {
                traced.add(run.send(producer, message(topic, "TagA", "k", "after")).getMsgId());
                Thread.sleep(2000);
                return Clients.readTopic(run.reader(), "RMQ_SYS_TRACE_TOPIC").stream()
                        .anyMatch(message -> traced.stream().anyMatch(id -> body(message).contains(id)));
            } catch (Exception e) {
                return false;
            }
        });
    }
}
