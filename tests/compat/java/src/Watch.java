package raftmq.compat;

import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/**
 * The account of one stream of messages, which are known by their bodies: what was tried, what was acknowledged, and how often each
 * was seen. Used from many threads.
 */
final class Watch {
    private final Set<String> tried = ConcurrentHashMap.newKeySet();
    private final Map<String, SendResult> acked = new ConcurrentHashMap<>();
    private final Map<String, Integer> seen = new ConcurrentHashMap<>();

    void trying(String text) {
        tried.add(text);
    }

    void acked(String text, SendResult result) {
        tried.add(text);
        acked.put(text, result);
    }

    void seen(Message message) {
        String text = Clients.body(message);
        seen.merge(text, 1, Integer::sum);
    }

    int ackedCount() {
        return acked.size();
    }

    int seenCount() {
        return seen.size();
    }

    int times(String text) {
        return seen.getOrDefault(text, 0);
    }

    Set<String> triedTexts() {
        return new TreeSet<>(tried);
    }

    Set<String> ackedTexts() {
        return new TreeSet<>(acked.keySet());
    }

    Set<String> seenTexts() {
        return new TreeSet<>(seen.keySet());
    }

    SendResult result(String text) {
        return acked.get(text);
    }

    /** Every acknowledged message is seen within @seconds, and nothing that nobody sent. */
    void awaitAll(int seconds) throws InterruptedException {
        Clients.await(seconds, () -> "all " + acked.size() + " acknowledged messages were seen; missing: " + missing(),
                () -> seen.keySet().containsAll(acked.keySet()));
        checkForeign();
    }

    private Set<String> missing() {
        Set<String> missing = ackedTexts();
        missing.removeAll(seen.keySet());
        return missing.size() <= 10 ? missing : Set.of(missing.size() + " of them, the first " + missing.iterator().next());
    }

    void checkForeign() {
        Set<String> foreign = seenTexts();
        foreign.removeAll(tried);
        Report.check(foreign.isEmpty(), "seen though nobody sent it: " + foreign);
    }

    /** How many were seen more than once. */
    long repeated() {
        return seen.values().stream().filter(times -> times > 1).count();
    }

    void checkOnce() {
        seen.forEach((text, times) -> Report.check(times == 1, text + " was seen " + times + " times"));
    }
}
