package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;

import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.impl.ClientRemotingProcessor;
import org.apache.rocketmq.client.impl.mqclient.MQClientAPIExt;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.header.NotificationRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PeekMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PollingInfoRequestHeader;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Consumers that pop: the broker says who reads which queue, and knows each message that somebody holds. */
final class Pop {
    /* A stock broker under load looks at what nobody acknowledged when its timers have caught up. */
    private static final int STOCK_REVIVES_S = 300;

    private Pop() {
    }

    static void list(Cases cases) {
        cases.line("pop");
        cases.add("a push consumer pops", Pop::pops).needs("pop").selected();
        cases.add("what fails is popped again", Pop::fails).needs("pop").selected();
        cases.add("what a dead consumer held is popped again", Pop::held).needs("pop");
        cases.add("consumers pop in order", Pop::ordered).needs("pop").selected();
        cases.add("what fails is popped in order again", Pop::failsInOrder).needs("pop");
        cases.add("what there is to pop is told and shown", Pop::watched).needs("pop");
        cases.add("brokers assign the queues of pulling consumers", Pop::assigned).needs("assignment");
    }

    private static void popMode(Run run, String topic, String group) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        var config = run.ask("the group's rules", () -> {
            try {
                return admin.examineSubscriptionGroupConfig(Clients.leader(admin, topic), group);
            } catch (MQBrokerException e) {
                return null;
            }
        });
        if (config == null) {
            SubscriptionGroupConfig made = new SubscriptionGroupConfig();
            made.setGroupName(group);
            run.act("the group", () -> admin.createAndUpdateSubscriptionGroupConfig(Clients.leader(admin, topic), made));
        }
        run.act("the mode", () -> admin.setMessageRequestMode(Clients.leader(admin, topic), topic, group, MessageRequestMode.POP, 8, 5000));
    }

    private static DefaultMQPushConsumer popConsumer(Run run, String topic, String group) throws Exception {
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(group);
        consumer.setClientRebalance(false);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    private static void checkPopped(MessageExt message, Set<String> pulled) {
        if (message.getProperty("POP_CK") == null) {
            pulled.add(body(message));
        }
    }

    private static void pops(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("pops");
        String topic = run.newTopic(producer, "pops", Run.QUEUES);
        popMode(run, topic, run.group("pops"));
        Watch watch = new Watch();
        Set<String> pulled = ConcurrentHashMap.newKeySet();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = popConsumer(run, topic, run.group("pops"));
            consumer.setPopInvisibleTime(10_000);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                messages.forEach(message -> {
                    checkPopped(message, pulled);
                    watch.seen(message);
                });
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }
        run.stream(producer, topic, "popped-", 200, watch);
        watch.awaitAll(Run.PATIENCE_S);
        check(pulled.isEmpty(), "pulled, not popped: " + pulled);
        int before = watch.seenCount();
        Thread.sleep(15_000); /* what was acknowledged does not come again when its time is up */
        check(watch.seenCount() == before, "new ones came");
        if (!run.kills) {
            watch.checkOnce();
        }
        run.note(watch.seenCount() + " popped, " + watch.repeated() + " of them more than once");
    }

    private static void fails(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("popfails");
        String topic = run.newTopic(producer, "popfails", 1);
        popMode(run, topic, run.group("popfails"));
        Watch watch = new Watch();
        Set<String> failed = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = popConsumer(run, topic, run.group("popfails"));
        consumer.setPopInvisibleTime(10_000);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                if (failed.add(body(message))) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            messages.forEach(watch::seen);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        run.through(20, i -> {
            run.send(producer, message(topic, "TagA", "k" + i, "failing-" + i), watch);
            Thread.sleep(run.kills ? 200 : 0);
        });
        watch.awaitAll(run.strict ? 60 : STOCK_REVIVES_S);
    }

    private static void held(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("popheld");
        String topic = run.newTopic(producer, "popheld", 1);
        popMode(run, topic, run.group("popheld"));
        Watch watch = new Watch();
        Watch taken = new Watch();
        DefaultMQPushConsumer dies = popConsumer(run, topic, run.group("popheld"));
        dies.setPopInvisibleTime(10_000);
        dies.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(taken::seen);
            try {
                Thread.sleep(120_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        dies.start();
        run.sendNumbered(producer, topic, "held-", 10, watch);
        await(60, () -> taken.seenCount() + " were taken", () -> taken.seenCount() == 10);
        dies.shutdown();
        run.middle();
        DefaultMQPushConsumer lives = popConsumer(run, topic, run.group("popheld"));
        lives.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(watch::seen);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        lives.start();
        watch.awaitAll(run.strict ? 60 : STOCK_REVIVES_S);
    }

    private static void ordered(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("poporder");
        String topic = run.newTopic(producer, "poporder", 2);
        String group = run.group("poporder");
        popMode(run, topic, group);
        OrderWatch order = new OrderWatch();
        Watch watch = new Watch();
        DefaultMQPushConsumer consumer = popConsumer(run, topic, group);
        consumer.setPopInvisibleTime(10_000);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            order.seen(messages);
            messages.forEach(watch::seen);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        run.through(100, i -> {
            String text = "ordered-" + i;
            watch.trying(text);
            watch.acked(text, run.send(text, () -> producer.send(message(topic, "TagA", text, text),
                    (queues, message, number) -> queues.get((Integer) number % 2), i)));
        });
        watch.awaitAll(120);
        order.check();
    }

    /** Every fifth fails twice: nothing behind it comes before it was consumed. */
    private static void failsInOrder(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("poporderfails");
        String topic = run.newTopic(producer, "poporderfails", 1);
        String group = run.group("poporderfails");
        popMode(run, topic, group);
        OrderWatch order = new OrderWatch();
        Watch watch = new Watch();
        ConcurrentHashMap<String, Integer> failures = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = popConsumer(run, topic, group);
        consumer.setPopInvisibleTime(10_000);
        consumer.setSuspendCurrentQueueTimeMillis(200);
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            for (MessageExt message : messages) {
                String text = body(message);
                if (text.endsWith("5") && failures.merge(text, 1, Integer::sum) <= 2) {
                    return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                }
            }
            order.seen(messages);
            messages.forEach(watch::seen);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        run.through(20, i -> run.send(producer, message(topic, "TagA", "k" + i, "failing-" + i), watch));
        watch.awaitAll(120);
        order.check();
        check(failures.values().stream().anyMatch(times -> times > 2), "nothing came again: " + failures);
    }

    private static NotificationRequestHeader notification(String topic, String group, long pollMs) {
        NotificationRequestHeader header = new NotificationRequestHeader();
        header.setTopic(topic);
        header.setConsumerGroup(group);
        header.setQueueId(-1);
        header.setPollTime(pollMs);
        header.setBornTime(System.currentTimeMillis());
        return header;
    }

    /** What proxies and tools ask: 200054, 200052, 200055. */
    private static void watched(Run run) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        DefaultMQProducer producer = run.producer("popwatched");
        String topic = run.newTopic(producer, "popwatched", 1);
        String group = run.group("popwatched");
        popMode(run, topic, group);
        MQClientAPIExt api = new MQClientAPIExt(new ClientConfig(), new NettyClientConfig(), new ClientRemotingProcessor(null), null);
        api.start();
        try {
            check(!run.ask("nothing yet", () -> api.notification(Clients.leader(admin, topic), notification(topic, group, 300), 5000).get()),
                    "a message before the first one");
            CompletableFuture<Boolean> waiting = api.notification(Clients.leader(admin, topic), notification(topic, group, 15_000), 20_000);
            run.send(producer, message(topic, "TagA", "k", "watched"), new Watch());
            check(run.kills || waiting.get(10, TimeUnit.SECONDS), "nobody was told of a message");
            run.middle();
            check(run.ask("there is something", () -> api.notification(Clients.leader(admin, topic), notification(topic, group, 1000), 5000).get()),
                    "nothing is there any more");
            PeekMessageRequestHeader peek = new PeekMessageRequestHeader();
            peek.setTopic(topic);
            peek.setConsumerGroup(group);
            peek.setQueueId(-1);
            peek.setMaxMsgNums(8);
            RemotingCommand peeked = run.ask("a peek", () -> api.getRemotingClient().invokeSync(Clients.leader(admin, topic),
                    RemotingCommand.createRequestCommand(RequestCode.PEEK_MESSAGE, peek), 3000));
            check(peeked.getCode() == 0 && MessageDecoder.decodes(ByteBuffer.wrap(peeked.getBody())).stream()
                    .anyMatch(shown -> body(shown).equals("watched")), "a peek shows " + peeked);
            PollingInfoRequestHeader polling = new PollingInfoRequestHeader();
            polling.setTopic(topic);
            polling.setConsumerGroup(group);
            polling.setQueueId(-1);
            RemotingCommand held = run.ask("polling", () -> api.getRemotingClient().invokeSync(Clients.leader(admin, topic),
                    RemotingCommand.createRequestCommand(RequestCode.POLLING_INFO, polling), 3000));
            check(held.getCode() == 0 && "0".equals(held.getExtFields().get("pollingNum")), "held are " + held);
        } finally {
            api.shutdown();
        }
    }

    private static void assigned(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("assigned");
        String topic = run.newTopic(producer, "assigned", Run.QUEUES);
        Watch watch = new Watch();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = popConsumer(run, topic, run.group("assigned"));
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                messages.forEach(watch::seen);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }
        run.stream(producer, topic, "assigned-", 100, watch);
        watch.awaitAll(120);
    }
}
