package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func sendSync(r *run) {
	p := r.producer("sync")
	topic := r.newTopic(p, "sync")
	w := newWatch()
	r.consume(r.name("sync_consumer"), topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, one := range messages {
			if one.GetProperty("number") != "" && one.GetTags() == "TagA" && one.GetKeys() == string(one.Body) {
				w.seen(one)
			}
		}
		return consumer.ConsumeSuccess, nil
	})
	r.through(50, func(i int) {
		r.send(p, func() *primitive.Message {
			made := message(topic, "TagA", fmt.Sprintf("sync-%d", i))
			made.WithProperty("number", fmt.Sprint(i))
			return made
		}, w)
	})
	w.awaitAll(patience)
	r.note("%d consumed, %d of them more than once", len(w.times), w.repeated())
}

func sendAsync(r *run) {
	p := r.producer("async")
	topic := r.newTopic(p, "async")
	w := newWatch()
	r.consume(r.name("async_consumer"), topic, everything(), r.watching(w))
	var answered sync.WaitGroup
	var send func(text string, deadline time.Time)
	send = func(text string, deadline time.Time) {
		again := func(err error) {
			if !r.kills || time.Now().After(deadline) {
				r.note("%s: %v", text, err)
				answered.Done() // its message will be missing
				return
			}
			time.AfterFunc(200*time.Millisecond, func() { send(text, deadline) })
		}
		err := p.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			if err == nil && result.Status != primitive.SendOK {
				err = fmt.Errorf("status %d", result.Status)
			}
			if err != nil {
				again(err)
				return
			}
			w.acked(text)
			answered.Done()
		}, message(topic, "TagA", text))
		if err != nil {
			again(err)
		}
	}
	count := 0
	r.through(200, func(i int) {
		text := fmt.Sprintf("async-%d", i)
		w.trying(text)
		answered.Add(1)
		count++
		send(text, time.Now().Add(patience))
	})
	check(waitFor(&answered, patience+10*time.Second), "not all sends were answered")
	check(len(w.ackedTexts) == count, "%d of %d were acknowledged", len(w.ackedTexts), count)
	w.awaitAll(patience)
}

func sendOneWay(r *run) {
	p := r.producer("oneway")
	topic := r.newTopic(p, "oneway")
	w := newWatch()
	r.consume(r.name("oneway_consumer"), topic, everything(), r.watching(w))
	for i := 0; i < 50; i++ { // before the middle: nobody promises those that are on their way then
		text := fmt.Sprintf("oneway-%d", i)
		w.acked(text)
		must(p.SendOneWay(context.Background(), message(topic, "TagA", text)), "a one-way send")
	}
	w.awaitAll(patience)
	r.middle()
	w.checkForeign()
}

func sendBatch(r *run) {
	const size = 20
	p := r.producer("batch")
	topic := r.newTopic(p, "batch")
	w := newWatch()
	r.consume(r.name("batch_consumer"), topic, everything(), r.watching(w))
	r.through(10, func(batch int) {
		var texts []string
		for i := 0; i < size; i++ {
			texts = append(texts, fmt.Sprintf("batch-%d-%d", batch, i))
			w.trying(texts[i])
		}
		r.ask("a batch", func() error {
			var messages []*primitive.Message
			for _, text := range texts {
				messages = append(messages, message(topic, "TagA", text))
			}
			_, err := p.SendSync(context.Background(), messages...)
			return err
		})
		for _, text := range texts {
			w.acked(text)
		}
	})
	w.awaitAll(patience)
}

func sendChosen(r *run) {
	p := r.producer("chosen", producer.WithQueueSelector(producer.NewManualQueueSelector()))
	auto := r.producer("chosen_first")
	topic := r.newTopic(auto, "chosen")
	w := newWatch()
	looked := r.send(auto, func() *primitive.Message { return message(topic, "TagA", "looks for the broker") }, newWatch())
	r.through(40, func(i int) {
		result := r.send(p, func() *primitive.Message {
			made := message(topic, "TagA", fmt.Sprintf("chosen-%d", i))
			made.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: looked.MessageQueue.BrokerName, QueueId: i % queueCount}
			return made
		}, w)
		check(result.MessageQueue.QueueId == i%queueCount, "message %d went to queue %d", i, result.MessageQueue.QueueId)
	})
}
