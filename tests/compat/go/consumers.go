package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func clustering(r *run) {
	p := r.producer("clustering")
	topic := r.newTopic(p, "clustering")
	w := newWatch()
	for i := 0; i < 2; i++ {
		r.consume(r.name("clustering"), topic, everything(), r.watching(w))
	}
	r.stream(p, topic, "shared", 200, w)
	w.awaitAll(patience)
	r.note("%d consumed, %d of them more than once", len(w.times), w.repeated())
}

func broadcasting(r *run) {
	p := r.producer("broadcast")
	topic := r.newTopic(p, "broadcast")
	var watches []*watch
	for i := 0; i < 2; i++ {
		own := newWatch()
		watches = append(watches, own)
		r.consume(r.name("broadcast"), topic, everything(), r.watching(own), consumer.WithConsumerModel(consumer.BroadCasting))
	}
	time.Sleep(3 * time.Second) // a broadcasting consumer begins at the end
	sent := newWatch()
	r.stream(p, topic, "all", 60, sent)
	for _, own := range watches {
		for text := range sent.ackedTexts {
			own.acked(text)
		}
		own.awaitAll(patience)
	}
}

func orderly(r *run) {
	chosen := r.producer("orderly", producer.WithQueueSelector(producer.NewHashQueueSelector()))
	topic := r.newTopic(chosen, "orderly")
	w := newWatch()
	var order sync.Mutex
	next := map[int]int64{}
	var breaches []string
	for i := 0; i < 2; i++ {
		r.consume(r.name("orderly"), topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			order.Lock()
			defer order.Unlock()
			for _, one := range messages {
				queue, offset := one.Queue.QueueId, one.QueueOffset
				if offset > next[queue] {
					breaches = append(breaches, fmt.Sprintf("queue %d came to %d before %d", queue, offset, next[queue]))
				}
				if offset >= next[queue] {
					next[queue] = offset + 1
				}
				w.seen(one)
			}
			return consumer.ConsumeSuccess, nil
		}, consumer.WithConsumerOrder(true))
	}
	r.through(200, func(i int) {
		r.send(chosen, func() *primitive.Message {
			return message(topic, "TagA", fmt.Sprintf("orderly-%d", i)).WithShardingKey(fmt.Sprint(i % queueCount))
		}, w)
	})
	w.awaitAll(patience)
	order.Lock()
	defer order.Unlock()
	check(len(breaches) == 0, "%d breaches of order, the first: %v", len(breaches), breaches)
}

func tags(r *run) {
	p := r.producer("tags")
	topic := r.newTopic(p, "tags")
	w := newWatch()
	r.consume(r.name("tags"), topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "TagA || TagB"}, r.watching(w))
	others := newWatch()
	r.through(90, func(i int) {
		tag := "Tag" + string("ABC"[i%3])
		account := w
		if tag == "TagC" {
			account = others
		}
		r.send(p, func() *primitive.Message { return message(topic, tag, fmt.Sprintf("%s-%d", tag, i)) }, account)
	})
	w.awaitAll(patience)
	time.Sleep(500 * time.Millisecond)
	w.checkForeign()
}

func sql(r *run) {
	p := r.producer("sql")
	topic := r.newTopic(p, "sql")
	w := newWatch()
	r.consume(r.name("sql"), topic, consumer.MessageSelector{Type: consumer.SQL92,
		Expression: "price BETWEEN 10 AND 1000000 AND (region = 'eu' OR region IS NULL)"}, r.watching(w))
	others := newWatch()
	r.through(60, func(i int) {
		account := others
		if i >= 10 && i%3 != 1 {
			account = w
		}
		r.send(p, func() *primitive.Message {
			made := message(topic, "TagA", fmt.Sprintf("sql-%d", i))
			made.WithProperty("price", fmt.Sprint(i))
			if i%3 != 2 {
				made.WithProperty("region", []string{"eu", "us"}[i%3])
			}
			return made
		}, account)
	})
	w.awaitAll(patience)
	time.Sleep(500 * time.Millisecond)
	w.checkForeign()
}

func pullConsumer(r *run) {
	p := r.producer("pull")
	topic := r.newTopic(p, "pull")
	w := newWatch()
	c, err := rocketmq.NewPullConsumer(consumer.WithNsResolver(r.resolver()), consumer.WithGroupName(r.name("pull")),
		consumer.WithInstance(r.instance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	must(err, "a pull consumer")
	must(c.Subscribe(topic, everything()), "the subscription")
	must(c.Start(), "the start")
	r.later(func() { _ = c.Shutdown() })
	over := make(chan struct{})
	defer close(over)
	go func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			taken, err := c.Poll(context.Background(), time.Second)
			if err != nil || taken == nil {
				continue
			}
			for _, one := range taken.GetMsgList() {
				w.seen(one)
			}
			c.ACK(context.Background(), taken, consumer.ConsumeSuccess)
		}
	}()
	r.stream(p, topic, "pulled", 60, w)
	w.awaitAll(patience)
}

func deadLetters(r *run) {
	p := r.producer("dead")
	topic := r.newTopic(p, "dead")
	again, dead := newWatch(), newWatch()
	group := r.name("dead_consumer")
	r.consume(group, topic, everything(), func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		concurrent, _ := primitive.GetConcurrentlyCtx(ctx)
		concurrent.DelayLevelWhenNextConsume = 1
		for _, one := range messages {
			if string(one.Body) == firstBody {
				return consumer.ConsumeSuccess, nil
			}
			if one.ReconsumeTimes == 1 && strings.HasPrefix(string(one.Body), "again") {
				again.seen(one)
				return consumer.ConsumeSuccess, nil
			}
		}
		return consumer.ConsumeRetryLater, nil
	}, consumer.WithMaxReconsumeTimes(2), consumer.WithConsumeMessageBatchMaxSize(1))
	r.through(20, func(i int) {
		kind, account := "again", again
		if i%2 == 1 {
			kind, account = "dead", dead
		}
		r.send(p, func() *primitive.Message { return message(topic, "TagA", fmt.Sprintf("%s-%d", kind, i)) }, account)
	})
	again.awaitAll(patience)
	await(patience, func() string { return "there were dead letters" }, func() bool {
		reader, err := rocketmq.NewPushConsumer(consumer.WithNsResolver(r.resolver()), consumer.WithGroupName(r.name("undertaker")),
			consumer.WithInstance(r.instance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
		must(err, "a consumer")
		must(reader.Subscribe("%DLQ%"+group, everything(), r.watching(dead)), "the subscription")
		if reader.Start() != nil {
			_ = reader.Shutdown()
			time.Sleep(time.Second)
			return false
		}
		r.later(func() { _ = reader.Shutdown() })
		return true
	})
	dead.awaitAll(patience)
	r.note("%d came again, %d dead letters", len(again.times), len(dead.times))
}
