import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A consumer group that fails every message: each comes 17 times, with 0 to 16 failures behind it, and is a dead letter then. The
 * broker's delay levels are set to a second each. With "kill", the leader dies in the middle (the script does it): nothing may be
 * missing then, and what comes twice is counted.
 *
 * Arguments: name server, run number, kill|healthy.
 */
public final class RetryLevels {
    private static final int MESSAGES = 60;
    private static final int FAILURES = 16;
    private static final int END_S = 150;

    private static int passed, failed;

    private RetryLevels() {
    }

    private static void result(String name, boolean ok, String what) {
        System.out.println(ok ? "PASS " + name : "FAIL " + name + ": " + what);
        if (ok) {
            passed++;
        } else {
            failed++;
        }
    }

    private static String body(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    private static void send(DefaultMQProducer producer, String topic) throws Exception {
        for (int i = 0; i < MESSAGES; i++) {
            Message message = new Message(topic, "TagA", "key-" + i, ("m" + i).getBytes(StandardCharsets.UTF_8));
            long end = System.nanoTime() + 60_000_000_000L;
            while (true) {
                try {
                    if (producer.send(message).getSendStatus() == SendStatus.SEND_OK) {
                        break;
                    }
                } catch (Exception e) {
                    if (System.nanoTime() > end) {
                        throw e;
                    }
                }
                Thread.sleep(100);
            }
        }
    }

    /** Everything in the dead letter topic; null while it cannot be read. */
    private static List<MessageExt> deadLetters(DefaultMQPullConsumer reader, String topic) {
        List<MessageExt> all = new ArrayList<>();
        try {
            for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
                long end = reader.maxOffset(queue);
                for (long at = 0; at < end;) {
                    PullResult result = reader.pull(queue, "*", at, 32);
                    if (result.getMsgFoundList() != null) {
                        all.addAll(result.getMsgFoundList());
                    }
                    at = result.getNextBeginOffset();
                }
            }
            return all;
        } catch (Exception e) {
            return null;
        }
    }

    private static boolean complete(List<MessageExt> letters) {
        return letters != null && letters.stream().map(RetryLevels::body).distinct().count() == MESSAGES;
    }

    private static void ask(String what, String answer) throws Exception {
        System.out.println(what);
        System.out.flush();
        StringBuilder line = new StringBuilder();
        for (int c = System.in.read(); c != '\n' && c >= 0; c = System.in.read()) {
            line.append((char) c);
        }
        if (!line.toString().equals(answer)) {
            throw new IllegalStateException("asked " + what + ", told " + line);
        }
    }

    public static void main(String[] args) throws Exception {
        String namesrv = args[0];
        boolean kill = args[2].equals("kill");
        String run = args[2] + "_" + args[1];
        String topic = "levels_" + run;
        String group = "levels_group_" + run;
        Map<String, Map<Integer, Integer>> deliveries = new ConcurrentHashMap<>();
        Map<String, String> problems = new ConcurrentHashMap<>();
        Map<String, String> ids = new ConcurrentHashMap<>();

        DefaultMQProducer producer = new DefaultMQProducer("levels_producer");
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName("producer-" + run);
        producer.setPollNameServerInterval(1000);
        producer.start();
        send(producer, topic);

        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName("consumer-" + run);
        consumer.setPollNameServerInterval(1000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "TagA");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                String text = body(message);
                deliveries.computeIfAbsent(text, t -> new ConcurrentHashMap<>())
                        .merge(message.getReconsumeTimes(), 1, Integer::sum);
                String id = ids.putIfAbsent(text, message.getMsgId());
                if (id != null && !id.equals(message.getMsgId())) {
                    problems.put(text, "came as " + id + " and as " + message.getMsgId());
                }
                if (!message.getTopic().equals(topic)) {
                    problems.put(text, "came under topic " + message.getTopic());
                }
            }
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();

        if (kill) {
            Thread.sleep(8000);
            ask("KILL-NOW", "KILLED");
            ask("RESTART-NOW", "RESTARTED");
        }
        DefaultMQPullConsumer reader = new DefaultMQPullConsumer("levels_reader_" + run);
        reader.setNamesrvAddr(namesrv);
        reader.setInstanceName("reader-" + run);
        reader.setPollNameServerInterval(1000);
        reader.start();
        long end = System.nanoTime() + END_S * 1_000_000_000L;
        List<MessageExt> letters = null;
        while (!complete(letters) && System.nanoTime() < end) {
            Thread.sleep(1000);
            letters = deadLetters(reader, "%DLQ%" + group);
        }
        check(kill, stored(reader, topic), letters == null ? List.of() : letters, deliveries, problems);
        consumer.shutdown();
        producer.shutdown();
        reader.shutdown();
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }

    /** What the sends made: a client that hears no answer in time sends again. */
    private static long stored(DefaultMQPullConsumer reader, String topic) throws Exception {
        long messages = 0;
        for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
            messages += reader.maxOffset(queue);
        }
        return messages;
    }

    private static void check(boolean kill, long stored, List<MessageExt> letters, Map<String, Map<Integer, Integer>> deliveries,
            Map<String, String> problems) {
        String phase = kill ? " (the leader dies)" : "";
        Map<String, Integer> times = new HashMap<>();
        letters.forEach(letter -> times.merge(body(letter), 1, Integer::sum));
        result("all " + MESSAGES + " messages are dead letters in the end" + phase, times.size() == MESSAGES,
                times.size() + " of them; deliveries " + new TreeMap<>(deliveries));
        result("a message stays the same over its retries" + phase, problems.isEmpty(), problems.toString());
        long shortOf = deliveries.values().stream().filter(one -> one.size() < FAILURES + 1).count();
        result("each was tried with every number of failures from 0 to " + FAILURES + phase, deliveries.size() == MESSAGES
                && shortOf == 0, shortOf + " were not: " + new TreeMap<>(deliveries));
        boolean marked = letters.stream().allMatch(letter -> letter.getReconsumeTimes() == FAILURES + 1
                && letter.getProperty("RETRY_TOPIC") != null && letter.getProperty("ORIGIN_MESSAGE_ID") != null);
        result("a dead letter says where it comes from" + phase, marked, letters.toString());
        int all = deliveries.values().stream().flatMap(one -> one.values().stream()).mapToInt(Integer::intValue).sum();
        System.out.println("    " + stored + " messages, " + all + " deliveries, " + letters.size() + " dead letters");
        if (!kill) {
            result("nothing comes twice", letters.size() == stored && all == stored * (FAILURES + 1), "see above");
        }
    }
}
