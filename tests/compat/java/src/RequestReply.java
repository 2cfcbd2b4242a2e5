package raftmq.compat;

import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;

/** Requests that wait for their reply. */
final class RequestReply {
    private RequestReply() {
    }

    static void list(Cases cases) {
        cases.line("request-reply");
        cases.add("a request gets its own reply", RequestReply::reply).needs("reply").selected();
        cases.add("a request that nobody answers times out", RequestReply::timeOut).needs("reply");
    }

    private static void answer(Run run, String topic) throws Exception {
        DefaultMQProducer replier = run.producer("replier");
        run.consume(run.group("replier_consumer"), topic, "*", message -> {
            try {
                Message reply = MessageUtil.createReplyMessage(message, ("reply to " + body(message)).getBytes("UTF-8"));
                replier.send(reply, 3000);
            } catch (Exception e) {
                /* The requester asks again. */
            }
        });
    }

    private static void reply(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("request");
        String topic = run.newTopic(producer, "request", Run.QUEUES);
        answer(run, topic);
        Thread.sleep(1000);
        Set<String> answered = ConcurrentHashMap.newKeySet();
        run.through(20, i -> {
            Message reply = run.ask("request " + i, () -> producer.request(message(topic, "TagA", "k", "request-" + i), 5000));
            checkEqual("reply to request-" + i, body(reply), "the reply");
            answered.add(body(reply));
        });
        check(answered.size() >= 20, "only " + answered.size() + " were answered");
    }

    private static void timeOut(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("unanswered");
        String topic = run.newTopic(producer, "unanswered", 1);
        run.middle();
        run.ask("the time-out", () -> {
            try {
                producer.request(message(topic, "TagA", "k", "nobody"), 2000);
            } catch (RequestTimeoutException e) {
                return true;
            }
            throw new AssertionError("somebody answered");
        });
    }
}
