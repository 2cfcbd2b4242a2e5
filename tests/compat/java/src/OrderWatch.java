package raftmq.compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.common.message.MessageExt;

/**
 * Watches what orderly consumers of one topic are given. In each queue, offsets that were not seen before come one after
 * the other from the first one on, without a gap; offsets seen before may come again. No two consumers hold a queue at once.
 */
final class OrderWatch {
    private final Map<Integer, Long> next = new ConcurrentHashMap<>();
    private final Map<Integer, Thread> inside = new ConcurrentHashMap<>();
    private final List<String> breaches = new ArrayList<>();
    private int distinct;
    private int repeated;

    /** Called by the consumers' listeners, from many threads. */
    void seen(List<MessageExt> messages) {
        int queue = messages.get(0).getQueueId();
        Thread other = inside.putIfAbsent(queue, Thread.currentThread());
        if (other != null) {
            breach("queue " + queue + " was consumed by " + other.getName() + " and " + Thread.currentThread().getName());
        }
        for (MessageExt message : messages) {
            note(message);
        }
        if (other == null) {
            inside.remove(queue);
        }
    }

    private synchronized void note(MessageExt message) {
        long offset = message.getQueueOffset();
        long wanted = next.getOrDefault(message.getQueueId(), 0L);
        if (offset < wanted) {
            repeated++;
            return;
        }
        if (offset > wanted) {
            breaches.add("queue " + message.getQueueId() + " came to offset " + offset + " before " + wanted);
        }
        next.put(message.getQueueId(), offset + 1);
        distinct++;
    }

    private synchronized void breach(String text) {
        breaches.add(text);
    }

    synchronized int count() {
        return distinct;
    }

    synchronized int repeated() {
        return repeated;
    }

    /** The end of what was seen of a queue. */
    long end(int queue) {
        return next.getOrDefault(queue, 0L);
    }

    synchronized void check() {
        Report.check(breaches.isEmpty(), breaches.size() + " breaches of order, the first: "
                + (breaches.isEmpty() ? "" : breaches.get(0)));
    }
}
