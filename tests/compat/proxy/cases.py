"""The Python client with gRPC (rocketmq-python-client) through a stock proxy: each case on healthy brokers, then all of them at once with the
leader killed in the middle. Prints "PASS name (seconds)" and "FAIL name: reason", and as its last line "N passed, N failed".

Usage: cases.py ENDPOINT RUN [healthy,killed]

Topics (normal_, delay_, transaction_, fifo_ and RUN) and groups (group_ and RUN and a name) are there. The leader dies when we print KILL-NOW,
and "KILLED" on standard input says that it did; RESTART-NOW likewise.
"""
import logging
import os
import sys
import threading
import time
import traceback

os.environ.setdefault("ROCKETMQ_CLIENT_LOG_PATH", os.path.join(os.getcwd(), "logs"))
logging.disable(logging.CRITICAL)

from rocketmq import (ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer, TransactionChecker,  # noqa: E402
                      TransactionResolution)

INVISIBLE_S = 12  # the proxy takes no less than 10
PATIENCE_S = 120


class Failure(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Failure(what)


class Report:
    def __init__(self):
        self.lock = threading.Lock()
        self.passed = 0
        self.failed = 0

    def line(self, text):
        with self.lock:
            print(text, flush=True)

    def run(self, name, body):
        begun = time.monotonic()
        try:
            body()
            self.passed += 1
            self.line(f"PASS {name} ({time.monotonic() - begun:.1f} s)")
        except Exception as e:  # noqa: B902
            self.failed += 1
            self.line(f"FAIL {name}: {e}")
            if not isinstance(e, Failure):
                traceback.print_exc()


class Middle:
    """Where the leader dies: arrive() says that it may, wait() also waits until it has."""

    def __init__(self, cases):
        self.waiting = cases
        self.lock = threading.Condition()
        self.dead = threading.Event()

    def arrive(self):
        with self.lock:
            self.waiting -= 1
            self.lock.notify_all()

    def await_arrivals(self, seconds):
        with self.lock:
            self.lock.wait_for(lambda: self.waiting <= 0, seconds)


class Run:
    """What one run of a case is given."""

    def __init__(self, suite, middle):
        self.suite = suite
        self.kind = "killed" if middle else "healthy"
        self.middle_of_all = middle
        self.arrived = False
        self.stops = []

    def configuration(self):
        return ClientConfiguration(self.suite.endpoint, Credentials(), "", 10)

    def topic(self, kind):
        return f"{kind}_{self.suite.run}"

    def group(self, name):
        return f"group_{self.suite.run}_{name}_{self.kind}"

    def producer(self, topic, checker=None):
        made = Producer(self.configuration(), [topic], checker)
        self.ask("the start of a producer", made.startup)
        self.stops.append(made.shutdown)
        return made

    def consumer(self, topic, name, expression="*"):
        made = SimpleConsumer(self.configuration(), self.group(name), {topic: FilterExpression(expression)}, 5)
        self.ask("the start of a consumer", made.startup)
        self.stops.append(made.shutdown)
        return made

    def stop(self):
        for stop in reversed(self.stops):
            try:
                stop()
            except Exception:  # noqa: B902
                pass

    def arrive(self):
        if self.middle_of_all and not self.arrived:
            self.arrived = True
            self.middle_of_all.arrive()

    def middle(self):
        self.arrive()
        if self.middle_of_all:
            self.middle_of_all.dead.wait()

    def ask(self, what, act):
        """Does it until it works (on healthy brokers a few times: the proxy learns of new topics late)."""
        until = time.monotonic() + (PATIENCE_S if self.middle_of_all else 40)
        while True:
            try:
                return act()
            except Exception as e:  # noqa: B902
                if time.monotonic() > until:
                    raise Failure(f"{what}: {e}") from e
                time.sleep(0.5)

    def send(self, producer, topic, text, wish=None):
        def attempt():
            message = Message()
            message.topic = topic
            message.body = text.encode()
            message.tag = self.tag()
            message.keys = text
            if wish:
                wish(message)
            return producer.send(message)

        return self.ask(f"a send of {text}", attempt)

    def tag(self):
        """Runs of one case share a topic: each sees its own tag only."""
        return self.kind

    def receive_until(self, consumer, holds, each, seconds=PATIENCE_S):
        until = time.monotonic() + seconds
        while not holds():
            check(time.monotonic() < until, f"not all came within {seconds} s")
            try:
                messages = consumer.receive(16, INVISIBLE_S)
            except Exception:  # noqa: B902
                time.sleep(0.5)
                continue
            for message in messages or []:
                each(message)


def text_of(message):
    return message.body.decode()


def through(run, count, one):
    """Half of @count before the middle, more until the leader is dead, the other half after it."""
    after = i = 0
    while after < count // 2:
        if i == count // 2:
            run.arrive()
        if i >= count // 2 and (not run.middle_of_all or run.middle_of_all.dead.is_set()):
            after += 1
        one(i)
        i += 1


def send_receive_ack(run):
    topic = run.topic("normal")
    producer, consumer = run.producer(topic), run.consumer(topic, "ack", run.tag())
    acked, seen = set(), {}

    def send(i):
        run.send(producer, topic, f"ack-{run.kind}-{i}")
        acked.add(f"ack-{run.kind}-{i}")
        time.sleep(0.05)

    sender = threading.Thread(target=through, args=(run, 40, send))
    sender.start()

    def take(message):
        if text_of(message).startswith("ack-"):
            seen[text_of(message)] = seen.get(text_of(message), 0) + 1
        run.ask("an ack", lambda: consumer.ack(message))

    run.receive_until(consumer, lambda: not sender.is_alive() and acked <= set(seen), take, PATIENCE_S * 2)
    before = dict(seen)
    until = time.monotonic() + INVISIBLE_S + 8
    while time.monotonic() < until:  # what was acknowledged does not come again
        for message in consumer.receive(16, INVISIBLE_S) or []:
            take(message)
    if not run.middle_of_all:
        check(before == seen, f"came again: {set(seen.items()) - set(before.items())}")


def comes_again(run):
    topic = run.topic("normal")
    producer, consumer = run.producer(topic), run.consumer(topic, "again", run.tag())
    wanted = {f"again-{run.kind}-{i}" for i in range(5)}
    for text in sorted(wanted):
        run.send(producer, topic, text)
    first, again = {}, {}

    def take(message):
        text = text_of(message)
        if text not in wanted:
            run.ask("an ack", lambda: consumer.ack(message))
        elif text not in first:
            first[text] = time.monotonic()
        else:
            again[text] = time.monotonic()
            run.ask("an ack", lambda: consumer.ack(message))

    run.receive_until(consumer, lambda: wanted <= set(first), take)
    run.middle()
    run.receive_until(consumer, lambda: wanted <= set(again), take, 300)
    for text in wanted:
        check(again[text] - first[text] >= INVISIBLE_S - 1, f"{text} came again after {again[text] - first[text]:.1f} s")


def change_invisible(run):
    topic = run.topic("normal")
    producer, consumer = run.producer(topic), run.consumer(topic, "change", run.tag())
    text = f"change-{run.kind}"
    run.send(producer, topic, text)
    first, again = [], []

    def take(message):
        if text_of(message) != text:
            run.ask("an ack", lambda: consumer.ack(message))
        elif not first:
            handle = message.receipt_handle

            def change():
                message.receipt_handle = handle  # a change that failed leaves none
                consumer.change_invisible_duration(message, 20)

            run.middle()
            run.ask("the change", change)
            first.append(time.monotonic())
        else:
            again.append(time.monotonic())
            run.ask("an ack", lambda: consumer.ack(message))

    run.receive_until(consumer, lambda: first, take)
    run.receive_until(consumer, lambda: again, take, 300)
    if not run.middle_of_all:  # a change that was not taken at first is asked for again
        check(again[0] - first[0] >= 19, f"it came again after {again[0] - first[0]:.1f} s, not 20")


def delay(run):
    topic = run.topic("delay")
    producer, consumer = run.producer(topic), run.consumer(topic, "delay", run.tag())
    due, seen = {}, {}

    def send(i):
        text = f"delay-{run.kind}-{i}"
        at = int(time.time()) + 6
        due[text] = at
        run.send(producer, topic, text, lambda message: setattr(message, "delivery_timestamp", at))
        time.sleep(0.1)

    through(run, 20, send)

    def take(message):
        seen.setdefault(text_of(message), time.time())
        run.ask("an ack", lambda: consumer.ack(message))

    run.receive_until(consumer, lambda: set(due) <= set(seen), take)
    early = [text for text in due if seen[text] < due[text]]
    check(not early, f"delivered too early: {early}")


class Checker(TransactionChecker):
    def __init__(self):
        self.asked = 0

    def check(self, message):
        self.asked += 1
        return TransactionResolution.COMMIT if b"commit" in message.body else TransactionResolution.ROLLBACK


def transaction(run):
    topic = run.topic("transaction")
    checker = Checker()
    producer, consumer = run.producer(topic, checker), run.consumer(topic, "transaction", run.tag())
    wanted, seen = set(), {}

    def send(i):
        kind = ["commit", "rollback", "later-commit", "later-rollback"][i % 4]
        text = f"{kind}-{run.kind}-{i}"

        def attempt():
            opened = producer.begin_transaction()
            message = Message()
            message.topic = topic
            message.body = text.encode()
            message.tag = run.tag()
            producer.send(message, opened)
            return opened

        opened = run.ask(f"a half message {text}", attempt)
        if "commit" in kind:
            wanted.add(text)
        try:
            if kind == "commit":
                opened.commit()
            elif kind == "rollback":
                opened.rollback()
        except Exception:  # noqa: B902
            check(run.middle_of_all, f"{text} could not be decided")  # over a kill the check will
        time.sleep(0.1)

    through(run, 16, send)

    def take(message):
        seen[text_of(message)] = seen.get(text_of(message), 0) + 1
        run.ask("an ack", lambda: consumer.ack(message))

    run.receive_until(consumer, lambda: wanted <= set(seen), take, 180)
    check(checker.asked > 0, "nobody was asked")
    foreign = {text for text in seen if "rollback" in text}
    check(not foreign, f"rolled back and seen: {foreign}")


def in_order(run):
    """Of each message group one after the other; one that is not acknowledged comes again before those behind it."""
    topic = run.topic("fifo")
    producer, consumer = run.producer(topic), run.consumer(topic, "fifo", run.tag())
    sent, seen, acked, refused = {"a": [], "b": []}, {"a": [], "b": []}, set(), set()

    def send(i):
        group = "ab"[i % 2]
        text = f"{group}-{run.kind}-{i}"
        run.send(producer, topic, text, lambda message: setattr(message, "message_group", group + run.kind))
        sent[group].append(text)
        time.sleep(0.05)

    sender = threading.Thread(target=through, args=(run, 24, send))
    sender.start()

    def take(message):
        text = text_of(message)
        if text not in acked:
            seen[text[0]].append(text)
        if text.endswith("-6") and text not in refused:
            refused.add(text)
            return
        run.ask("an ack", lambda: consumer.ack(message))
        acked.add(text)

    def holds():
        return not sender.is_alive() and set(sent["a"] + sent["b"]) <= acked

    until = time.monotonic() + PATIENCE_S * 2
    while not holds():
        check(time.monotonic() < until, f"not all came: {set(sent['a'] + sent['b']) - acked}")
        try:
            for message in consumer.receive(1, INVISIBLE_S) or []:
                take(message)
        except Failure:
            raise
        except Exception:  # noqa: B902
            time.sleep(0.5)
    check(refused, "none was left without an ack")
    for group, texts in seen.items():
        numbers = [int(text.rsplit("-", 1)[1]) for text in texts]
        check(numbers == sorted(numbers), f"group {group} came as {numbers}")


CASES = [
    ("send, receive and ack", send_receive_ack),
    ("what is not acknowledged comes again", comes_again),
    ("a changed invisible time", change_invisible),
    ("delayed messages", delay),
    ("transactions", transaction),
    ("messages in order", in_order),
]


class Suite:
    def __init__(self, endpoint, run):
        self.endpoint = endpoint
        self.run = run
        self.report = Report()

    def run_case(self, name, body, middle):
        own = Run(self, middle)
        self.report.run(f"{name} [{own.kind}]", lambda: body(own))
        own.arrive()
        own.stop()

    def all_at_once(self, middle):
        threads = [threading.Thread(target=self.run_case, args=(name, body, middle), daemon=True) for name, body in CASES]
        for thread in threads:
            thread.start()
        return threads

    def ask(self, request, answer):
        self.report.line(request)
        got = sys.stdin.readline().strip()
        check(got == answer, f"the driver answered {got}")

    def killed(self):
        middle = Middle(len(CASES))
        threads = self.all_at_once(middle)
        middle.await_arrivals(PATIENCE_S)
        self.ask("KILL-NOW", "KILLED")
        middle.dead.set()
        time.sleep(2)
        self.ask("RESTART-NOW", "RESTARTED")
        for thread in threads:
            thread.join(600)


def main():
    suite = Suite(sys.argv[1], sys.argv[2])
    phases = sys.argv[3] if len(sys.argv) > 3 else "healthy,killed"
    if "healthy" in phases:
        for thread in suite.all_at_once(None):
            thread.join(600)
    if "killed" in phases:
        suite.killed()
    print(f"{suite.report.passed} passed, {suite.report.failed} failed", flush=True)
    os._exit(0 if suite.report.failed == 0 and suite.report.passed > 0 else 1)


main()
