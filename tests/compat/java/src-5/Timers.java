package raftmq.compat;

import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashSet;
import java.util.Set;

import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages for any time to come. */
final class Timers {
    private Timers() {
    }

    static void list(Cases cases) {
        cases.line("delay and timers");
        cases.add("timers in seconds, in milliseconds and at a time", Timers::timers).needs("timers").selected();
        cases.add("a timer in the past is delivered at once", Timers::past).needs("timers");
        cases.add("a timer is recalled", Timers::recalled).needs("recall").selected();
    }

    private static void timers(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("timers");
        String topic = run.newTopic(producer, "timers", Run.QUEUES);
        Delay.Due due = new Delay.Due(run);
        run.consume(run.group("timers"), topic, "*", due::seen);
        Thread.sleep(1000);
        run.through(60, i -> {
            switch (i % 3) {
            case 0:
                due.send(producer, topic, "seconds-" + i, 3000, message -> message.setDelayTimeSec(3));
                break;
            case 1:
                due.send(producer, topic, "milliseconds-" + i, 2345, message -> message.setDelayTimeMs(2345));
                break;
            default:
                long at = System.currentTimeMillis() + 4000 + i;
                due.sendAt(producer, topic, "time-" + i, at, message -> message.setDeliverTimeMs(at));
                break;
            }
        });
        due.check(topic, Run.PATIENCE_S);
    }

    private static void past(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("past");
        String topic = run.newTopic(producer, "past", 1);
        run.middle();
        Message message = message(topic, "TagA", "k", "past");
        message.setDeliverTimeMs(System.currentTimeMillis() - 10_000);
        run.send(producer, message);
        check(!run.stored(topic).isEmpty(), "it is not stored yet");
    }

    /** A handle whose time has passed. */
    private static void checkRefused(Run run, DefaultMQProducer producer, String topic, SendResult sent) throws Exception {
        String late = String.join(" ", "v1", topic, sent.getMessageQueue().getBrokerName(),
                String.valueOf(System.currentTimeMillis() - 1000), sent.getMsgId());
        String handle = Base64.getUrlEncoder().encodeToString(late.getBytes(StandardCharsets.UTF_8));
        run.act("the refusal of a late recall", () -> {
            try {
                producer.recallMessage(topic, handle);
            } catch (MQBrokerException e) {
                if (e.getResponseCode() == 604) {
                    return;
                }
                throw e;
            }
            throw new AssertionError("a recall of what was due was taken");
        });
    }

    private static void recalled(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("recall");
        String topic = run.newTopic(producer, "recall", 1);
        Delay.Due due = new Delay.Due(run);
        Set<String> recalled = new HashSet<>();
        int lead = run.kills ? run.strict ? 20_000 : 60_000 : 5_000; /* recalled before, also over the kill; stock brokers start slowly */
        long at = System.currentTimeMillis() + lead;
        for (int i = 0; i < 10; i++) {
            String text = due.sendAt(producer, topic, "recall-" + i, at, message -> message.setDeliverTimeMs(at));
            if (i % 2 == 0) {
                String handle = due.watch().result(text).getRecallHandle();
                check(handle != null && !handle.isEmpty(), "the answer to a timer names no handle");
                if (i == 4) {
                    run.middle();
                }
                String id = run.ask("the recall of " + text, () -> producer.recallMessage(topic, handle));
                checkEqual(due.watch().result(text).getMsgId(), id, "the id of what was recalled");
                recalled.add(text);
            }
        }
        checkRefused(run, producer, topic, due.watch().ackedTexts().stream().map(text -> due.watch().result(text)).findFirst().get());
        String last = due.sendAt(producer, topic, "the last", at + 1000, message -> message.setDeliverTimeMs(at + 1000));
        Set<String> stored = new HashSet<>();
        Clients.await(Run.PATIENCE_S, () -> "what is due after the recalled ones was delivered", () -> {
            try {
                run.stored(topic).forEach(message -> stored.add(body(message)));
            } catch (Exception e) {
                return false;
            }
            return stored.contains(last);
        });
        for (String text : due.watch().ackedTexts()) {
            checkEqual(!recalled.contains(text), stored.contains(text), "whether " + text + " was delivered");
        }
    }
}
